//! What an executor sees: the gathered tensors of one execution.

use smallvec::SmallVec;

use crate::tensor::Tensor;

/// One gathered input.
#[derive(Clone, Debug)]
pub struct BatchInput {
    /// Index among the model's inputs.
    pub index: usize,
    /// All rows of all requests, contiguous.
    pub tensor: Tensor,
}

/// One execution. Inputs that no request gave are absent.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Rows along the batch dimension; 1 for a model without one.
    pub batch_size: usize,
    /// The inputs, in ascending order of `index`.
    pub inputs: SmallVec<[BatchInput; 2]>,
    /// Indices of the outputs that some request wants, ascending.
    pub wanted: SmallVec<[usize; 4]>,
    /// By output index; the executor sets the wanted ones, batch dimension first.
    pub outputs: Vec<Option<Tensor>>,
}

impl Batch {
    /// Whether some request wants output `index`.
    pub fn wants(&self, index: usize) -> bool {
        self.wanted.binary_search(&index).is_ok()
    }

    /// The input with that index, if it was given.
    pub fn input(&self, index: usize) -> Option<&Tensor> {
        self.inputs
            .iter()
            .find(|input| input.index == index)
            .map(|input| &input.tensor)
    }
}
