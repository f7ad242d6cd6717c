//! Tensors of a request that are in shared memory: the parameters that say so, which both doors
//! have, reading inputs before the model sees them and writing outputs after it.

use tokio::task::spawn_blocking;

use super::{InferRequest, admit::Admitted, classification::Classification, status::TOO_LARGE};
use crate::{
    admission::Charge,
    error::{Error, Result},
    inference::{Parameter, Response},
    shared_memory::{Reference, Span},
    tensor::Buffer,
};

/// Shared memory is in memory, so that copying it does not wait for anything. From so many bytes on
/// (about 100 µs) the copy itself would keep a thread of the front doors from everybody else.
const INLINE_BYTE_SIZE: usize = 1 << 20;

/// A request's tensors in shared memory.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedTensors {
    /// Index among the inputs, which hold nothing yet, and where each is.
    pub(super) inputs: Vec<(usize, Reference)>,
    /// Index among the listed outputs, and where each goes.
    pub(super) outputs: Vec<(usize, Reference)>,
}

impl SharedTensors {
    /// # Errors
    /// `InvalidArgument`, as in Triton, if an output is wanted in shared memory and as classes.
    pub(super) fn refuse_classes(&self, classification: &Classification) -> Result<()> {
        if !self
            .outputs
            .iter()
            .any(|(index, _)| classification.contains(*index))
        {
            return Ok(());
        }
        Err(refuse(
            "Output can't set both 'shared_memory_region' and 'classification'".to_owned(),
        ))
    }
}

/// A `shared_memory_*` parameter of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlaceKey {
    Region,
    ByteSize,
    Offset,
}

impl PlaceKey {
    /// The key of that name, if it is one.
    pub(super) fn of(name: &str) -> Option<Self> {
        match name.strip_prefix("shared_memory_")? {
            "region" => Some(Self::Region),
            "byte_size" => Some(Self::ByteSize),
            "offset" => Some(Self::Offset),
            _ => None,
        }
    }

    /// The parameter's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Region => "shared_memory_region",
            Self::ByteSize => "shared_memory_byte_size",
            Self::Offset => "shared_memory_offset",
        }
    }
}

/// One tensor's `shared_memory_*` parameters.
#[derive(Clone, Debug, Default)]
pub(super) struct PlaceParameters {
    region: Option<String>,
    byte_size: Option<u64>,
    offset: Option<u64>,
}

impl PlaceParameters {
    /// Takes one parameter in.
    ///
    /// # Errors
    /// `InvalidArgument` for a value of the wrong type, or a parameter that came before.
    pub(super) fn set(&mut self, key: PlaceKey, value: Parameter) -> Result<()> {
        let is_first = match key {
            PlaceKey::Region => {
                let Parameter::String(name) = value else {
                    return Err(wrong_type(key, "a string"));
                };
                Reference::check_name(&name)?;
                self.region.replace(name).is_none()
            }
            PlaceKey::ByteSize => self.byte_size.replace(unsigned(key, &value)?).is_none(),
            PlaceKey::Offset => self.offset.replace(unsigned(key, &value)?).is_none(),
        };
        if is_first {
            return Ok(());
        }
        Err(refuse(format!("parameter '{}' is given twice", key.name())))
    }

    /// Where the tensor is, if it is in shared memory.
    ///
    /// # Errors
    /// `InvalidArgument` if only some of the parameters are there.
    pub(super) fn finish(self) -> Result<Option<Reference>> {
        match (self.region, self.byte_size, self.offset) {
            (None, None, None) => Ok(None),
            (Some(region), Some(byte_size), offset) => Ok(Some(Reference {
                region,
                offset: offset.unwrap_or(0),
                byte_size,
            })),
            (Some(_), None, _) => Err(incomplete(PlaceKey::Region, PlaceKey::ByteSize)),
            (None, Some(_), _) => Err(incomplete(PlaceKey::ByteSize, PlaceKey::Region)),
            (None, None, Some(_)) => Err(incomplete(PlaceKey::Offset, PlaceKey::Region)),
        }
    }
}

/// Where a request's outputs go. Holds the regions, whatever becomes of their names.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    spans: Vec<(usize, Span)>,
    /// Holds the regions that inputs came from, and the inputs' bytes, while the request is under way.
    _inputs: Option<(Vec<Span>, Charge)>,
}

/// Which outputs of an answer are in shared memory instead of in the answer.
#[derive(Debug, Default)]
pub(super) struct StoredOutputs(Vec<usize>);

impl InferRequest {
    /// Reads the inputs that are in shared memory, and finds the memory that outputs go to.
    ///
    /// # Errors
    /// As [`Regions::find`](crate::shared_memory::Regions::find), [`Span::read`] and [`Charge::grow`];
    /// `ResourceExhausted` if the inputs are together larger than a request may be.
    pub(super) async fn attach(&mut self, api: &Admitted<'_>) -> Result<Destinations> {
        let shared = std::mem::take(&mut self.shared);
        let mut destinations = Destinations::default();
        if !shared.inputs.is_empty() {
            // On the heap, for it would make the future of every other request larger.
            let attached = Box::pin(self.attach_inputs(api, shared.inputs));
            destinations._inputs = Some(attached.await?);
        }
        let inputs = self.inputs.iter();
        let byte_sizes = inputs.map(|input| input.tensor.data.byte_size());
        api.charge(byte_sizes.fold(0, usize::saturating_add));
        if !shared.outputs.is_empty() {
            let regions = api.regions()?;
            let find = |(index, reference)| Ok((index, regions.find(reference)?));
            let spans = shared.outputs.into_iter().map(find);
            destinations.spans = spans.collect::<Result<_>>()?;
        }
        Ok(destinations)
    }

    async fn attach_inputs(
        &mut self,
        api: &Admitted<'_>,
        inputs: Vec<(usize, Reference)>,
    ) -> Result<(Vec<Span>, Charge)> {
        let (regions, limit) = (api.regions()?, api.limits.request_byte_size);
        let sent = self
            .inputs
            .iter()
            .map(|input| input.tensor.data.byte_size());
        let mut total = sent.fold(0, usize::saturating_add);
        let mut spans = Vec::with_capacity(inputs.len());
        for (index, reference) in inputs {
            let span = regions.find(reference)?;
            total = total.saturating_add(span.byte_size());
            spans.push((index, span));
        }
        if total > limit {
            return Err(Error::resource_exhausted(
                TOO_LARGE,
                format!("inputs of {total} bytes exceed the limit of {limit} bytes for a request"),
            ));
        }
        let mut charge = api.budget.charge();
        for (index, span) in &spans {
            charge.grow(span.byte_size())?;
            let data = read(span.clone()).await?;
            if let Some(input) = self.inputs.get_mut(*index) {
                input.tensor.data = data;
            }
        }
        Ok((spans.into_iter().map(|(_, span)| span).collect(), charge))
    }
}

impl Destinations {
    /// Those outputs that go to memory of a device, by their place among the listed ones.
    pub(super) fn on_devices(&self) -> impl Iterator<Item = (usize, Buffer)> {
        let spans = self.spans.iter();
        spans.filter_map(|(index, span)| Some((*index, span.device_memory()?)))
    }

    /// Whether no output goes to shared memory.
    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Writes each output of `response` that goes to shared memory.
    ///
    /// # Errors
    /// `Internal`, as in Triton, for an output that is larger than what the client set aside; as
    /// [`Span::write`].
    pub(super) async fn store(&self, response: &Response) -> Result<StoredOutputs> {
        let mut stored = Vec::with_capacity(self.spans.len());
        for (index, span) in &self.spans {
            let Some(output) = response.outputs.get(*index) else {
                continue;
            };
            let byte_size = output.tensor.data.byte_size();
            if byte_size > span.byte_size() {
                return Err(Error::internal(
                    "shared_memory_too_small",
                    format!(
                        "shared memory size specified with the request for output '{}' ({} bytes) \
                         should be at least {byte_size} bytes to hold the results",
                        output.name,
                        span.byte_size()
                    ),
                ));
            }
            write(span.clone(), output.tensor.data.clone()).await?;
            stored.push(*index);
        }
        Ok(StoredOutputs(stored))
    }
}

impl StoredOutputs {
    /// Whether output `index` is there, and not in the answer.
    pub(super) fn holds(&self, index: usize) -> bool {
        self.0.contains(&index)
    }
}

async fn read(span: Span) -> Result<Buffer> {
    if span.byte_size() <= INLINE_BYTE_SIZE {
        return span.read();
    }
    spawn_blocking(move || span.read())
        .await
        .unwrap_or_else(|_| Err(stopped()))
}

async fn write(span: Span, tensor: Buffer) -> Result<()> {
    if tensor.byte_size() <= INLINE_BYTE_SIZE {
        return span.write(&tensor);
    }
    spawn_blocking(move || span.write(&tensor))
        .await
        .unwrap_or_else(|_| Err(stopped()))
}

fn stopped() -> Error {
    Error::internal("shared_memory", "copying shared memory was stopped")
}

fn unsigned(key: PlaceKey, value: &Parameter) -> Result<u64> {
    let number = match value {
        Parameter::Uint(value) => Some(*value),
        Parameter::Int(value) => u64::try_from(*value).ok(),
        _ => None,
    };
    number.ok_or_else(|| wrong_type(key, "a number >= 0"))
}

fn wrong_type(key: PlaceKey, expected: &str) -> Error {
    refuse(format!(
        "invalid value type for '{}' parameter, expected {expected}",
        key.name()
    ))
}

fn incomplete(given: PlaceKey, missing: PlaceKey) -> Error {
    refuse(format!(
        "parameter '{}' must come with '{}'",
        given.name(),
        missing.name()
    ))
}

fn refuse(message: String) -> Error {
    Error::invalid_argument("shared_memory_parameter", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(parameters: &[(&str, Parameter)]) -> Result<Option<Reference>> {
        let mut place = PlaceParameters::default();
        for (name, value) in parameters {
            place.set(PlaceKey::of(name).unwrap(), value.clone())?;
        }
        place.finish()
    }

    #[test]
    fn a_place_is_a_region_a_size_and_maybe_an_offset() {
        let region = ("shared_memory_region", Parameter::String("r".into()));
        let byte_size = ("shared_memory_byte_size", Parameter::Int(8));
        let offset = ("shared_memory_offset", Parameter::Uint(u64::MAX));
        let reference = |offset| Reference {
            region: "r".to_owned(),
            offset,
            byte_size: 8,
        };
        assert_eq!(place(&[]).unwrap(), None);
        assert_eq!(
            place(&[region.clone(), byte_size.clone()]).unwrap(),
            Some(reference(0))
        );
        assert_eq!(
            place(&[offset.clone(), region.clone(), byte_size.clone()]).unwrap(),
            Some(reference(u64::MAX))
        );
        for incomplete in [
            &[region.clone()][..],
            std::slice::from_ref(&byte_size),
            std::slice::from_ref(&offset),
            &[byte_size.clone(), offset.clone()],
            &[region.clone(), offset.clone()],
        ] {
            let error = place(incomplete).unwrap_err();
            assert!(error.message().contains("must come with"), "{error}");
        }
        assert!(place(&[region.clone(), byte_size.clone(), byte_size]).is_err());
        assert!(place(&[region.clone(), region]).is_err());
    }

    #[test]
    fn values_of_other_types_are_refused() {
        for (name, value) in [
            ("shared_memory_region", Parameter::Int(1)),
            ("shared_memory_region", Parameter::String(String::new())),
            ("shared_memory_byte_size", Parameter::Int(-1)),
            ("shared_memory_byte_size", Parameter::Double(8.0)),
            ("shared_memory_offset", Parameter::String("0".into())),
            ("shared_memory_offset", Parameter::Bool(true)),
        ] {
            assert!(place(&[(name, value)]).is_err(), "{name}");
        }
        assert_eq!(PlaceKey::of("shared_memory_colour"), None);
        assert_eq!(PlaceKey::of("region"), None);
    }
}
