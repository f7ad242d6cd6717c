//! A request as it travels from a front door to an instance.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use smallvec::SmallVec;

use super::{Probe, ResponseSender};
use crate::tensor::{Buffer, Tensor};

/// A custom parameter's value (KServe v2: string, integer, boolean, double).
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Parameter {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
}

/// Parameters in the order in which they came; names are unique.
pub type Parameters = Vec<(String, Parameter)>;

/// Which sequence a request belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum CorrelationId {
    /// Not part of a sequence (Triton's 0 and "").
    #[default]
    None,
    /// A numeric id, never 0.
    Number(u64),
    /// A text id, never empty.
    Text(String),
}

/// A request's place in a sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Correlation {
    /// The sequence.
    pub id: CorrelationId,
    /// First request of the sequence.
    pub start: bool,
    /// Last request of the sequence.
    pub end: bool,
}

/// One named input.
#[derive(Clone, Debug)]
pub struct Input {
    /// The name that the client gave.
    pub name: String,
    /// Index among the model's inputs; set when the request is checked against its model.
    pub index: usize,
    /// The data, batch dimension included.
    pub tensor: Tensor,
}

/// One inference request. Front doors fill it in; the model checks it and sets the fields marked
/// so; then only its [`ResponseSender`] is of consequence to whoever holds it.
#[derive(Debug)]
pub struct Request {
    /// The client's id for it; empty if none was given.
    pub id: String,
    /// The inputs. After the check: in ascending order of `index`.
    pub inputs: SmallVec<[Input; 2]>,
    /// Names of the wanted outputs, in the wanted order; `None` for all.
    pub outputs: Option<Vec<String>>,
    /// Indices of the wanted outputs among the model's, in the wanted order. Set by the check.
    pub wanted: SmallVec<[usize; 4]>,
    /// Places among the wanted outputs of those that should go to a device's memory, and that memory. A
    /// model that cannot write there answers with them like with the others.
    pub destinations: SmallVec<[(usize, Buffer); 1]>,
    /// Custom parameters, for the backend.
    pub parameters: Parameters,
    /// Sequence membership.
    pub correlation: Correlation,
    /// 1 is the highest priority; 0 asks for the model's default.
    pub priority: u64,
    /// How long it may wait in a queue.
    pub timeout: Option<Duration>,
    /// Rows along the batch dimension; 1 for a model without one. Set by the check.
    pub batch_size: usize,
    /// When a front door had it whole.
    pub received: Instant,
    /// When it entered its queue. Set by the scheduler.
    pub queued: Instant,
    /// Who is told what happens to it, if it is traced.
    pub probe: Option<Arc<dyn Probe>>,
    /// Where the answer goes.
    pub respond: ResponseSender,
}

impl Request {
    /// A request for `inputs`, otherwise with defaults.
    pub fn new(inputs: SmallVec<[Input; 2]>, respond: ResponseSender) -> Self {
        let now = Instant::now();
        Self {
            id: String::new(),
            inputs,
            outputs: None,
            wanted: SmallVec::new(),
            destinations: SmallVec::new(),
            parameters: Parameters::new(),
            correlation: Correlation::default(),
            priority: 0,
            timeout: None,
            batch_size: 1,
            received: now,
            queued: now,
            probe: None,
            respond,
        }
    }

    /// Bytes of all input tensors.
    pub fn byte_size(&self) -> usize {
        self.inputs
            .iter()
            .map(|input| input.tensor.data.byte_size())
            .sum()
    }
}

impl Input {
    /// An input of that name, not yet checked against a model.
    pub fn new(name: impl Into<String>, tensor: Tensor) -> Self {
        Self {
            name: name.into(),
            index: 0,
            tensor,
        }
    }
}
