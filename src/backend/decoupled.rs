//! What the executor of a decoupled model sees: requests one by one, each with a responder that
//! takes any number of responses, may go to another thread, and may outlive the call.

use smallvec::SmallVec;

use super::{BackendError, BatchInput};
use crate::{
    inference::{Correlation, Parameters},
    tensor::Tensor,
};

/// An executor that answers each request with any number of responses, when it likes.
pub trait DecoupledExecutor {
    /// Takes requests in, together for they were batched together. The instance has its next ones
    /// taken in when this returns, whether these are answered or not. What still answers when the
    /// executor is dropped is finished or stopped by it.
    fn execute(&mut self, requests: Vec<DecoupledRequest>);
}

/// One request, and the way back.
pub struct DecoupledRequest {
    /// The client's id for it; may be empty.
    pub id: String,
    /// Custom parameters.
    pub parameters: Parameters,
    /// Sequence membership.
    pub correlation: Correlation,
    /// Rows along the batch dimension; 1 for a model without one.
    pub batch_size: usize,
    /// The inputs, in ascending order of `index`.
    pub inputs: SmallVec<[BatchInput; 2]>,
    /// Indices of the wanted outputs.
    pub wanted: SmallVec<[usize; 4]>,
    /// Takes the responses.
    pub responder: Box<dyn Responder>,
}

/// One response: by output index, batch dimension first. Outputs that are not wanted are dropped.
pub type Outputs = Vec<Option<Tensor>>;

/// No more responses are wanted: the client is gone, or the last response was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop;

/// Takes the responses to one request. Implemented by the instance; dropping it before it is
/// finished ends the request with an error.
pub trait Responder: Send {
    /// Whether nobody waits for responses any more.
    fn is_cancelled(&self) -> bool;

    /// Sends a response, or an error in the place of one; others may follow. Blocks while the
    /// client has not taken as many as it may leave.
    ///
    /// # Errors
    /// [`Stop`] if nothing that follows would arrive.
    fn send(&mut self, response: Result<Outputs, BackendError>) -> Result<(), Stop>;

    /// Ends the request, with a last response if there is one. Never blocks.
    fn finish(self: Box<Self>, last: Option<Result<Outputs, BackendError>>);
}

impl DecoupledRequest {
    /// The input with that index, if it was given.
    pub fn input(&self, index: usize) -> Option<&Tensor> {
        let input = self.inputs.iter().find(|input| input.index == index);
        input.map(|input| &input.tensor)
    }
}
