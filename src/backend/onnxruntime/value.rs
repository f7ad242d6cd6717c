//! Tensors on both sides of ONNX Runtime's C interface. Inputs are lent where their alignment
//! allows it; outputs keep ONNX Runtime's own memory until the last response is sent.

use std::{
    borrow::Cow,
    ffi::{CStr, c_void},
    marker::PhantomData,
    ptr::{self, NonNull},
    slice,
};

use bytes::Bytes;
use ort::{environment::Environment, sys};

use super::{BackendError, failed};
use crate::tensor::{Buffer, BytesTensor, Datatype, Shape, Tensor, push_element};

type ElementType = sys::ONNXTensorElementDataType;

/// Turns a status into a result, and frees it.
pub(super) fn check(status: sys::OrtStatusPtr) -> Result<(), BackendError> {
    if status.0.is_null() {
        return Ok(());
    }
    // SAFETY: a status that is not null is valid until it is released.
    let message = unsafe { (ort::api().GetErrorMessage)(status.0) };
    // SAFETY: the message is a C string that lives as long as the status.
    let message = unsafe { CStr::from_ptr(message) }
        .to_string_lossy()
        .into_owned();
    // SAFETY: released once, and not used after.
    unsafe { (ort::api().ReleaseStatus)(status.0) };
    Err(failed(message))
}

/// One CPU arena for all sessions: without it each keeps the memory of its largest batch.
pub(super) fn share_arena(environment: &Environment) -> Result<(), BackendError> {
    use ort::AsPointer;
    let memory = HostMemory::new()?;
    // SAFETY: the environment and the memory description are valid; null asks for the default
    // arena settings.
    check(unsafe {
        (ort::api().CreateAndRegisterAllocator)(
            environment.ptr().cast_mut(),
            memory.0.as_ptr(),
            ptr::null(),
        )
    })
}

/// ONNX Runtime's description of host memory.
pub(super) struct HostMemory(NonNull<sys::OrtMemoryInfo>);

// SAFETY: a description that is only read once it is made, whichever thread reads or releases it.
unsafe impl Send for HostMemory {}

impl HostMemory {
    pub(super) fn new() -> Result<Self, BackendError> {
        let mut info = ptr::null_mut();
        // SAFETY: `info` is where the call may write one pointer.
        check(unsafe {
            (ort::api().CreateCpuMemoryInfo)(
                sys::OrtAllocatorType::OrtArenaAllocator,
                sys::OrtMemType::OrtMemTypeDefault,
                &raw mut info,
            )
        })?;
        NonNull::new(info).map(Self).ok_or_else(null)
    }
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        // SAFETY: made by `new`, released once.
        unsafe { (ort::api().ReleaseMemoryInfo)(self.0.as_ptr()) };
    }
}

/// An input, lent to ONNX Runtime for one run.
pub(super) struct InputValue<'a> {
    value: NonNull<sys::OrtValue>,
    /// What the value points into: aligned copies stay alive with it.
    _aligned: Option<Vec<u64>>,
    _lent: PhantomData<&'a [u8]>,
}

impl<'a> InputValue<'a> {
    /// Lends the elements of `tensor` as a tensor of `shape`.
    pub(super) fn new(
        memory: &HostMemory,
        tensor: &'a Tensor,
        shape: &Shape,
    ) -> Result<Self, BackendError> {
        let bytes = tensor
            .data
            .host()
            .ok_or_else(|| BackendError::Failed("an input is not in host memory".to_owned()))?;
        match tensor.datatype {
            Datatype::Bytes => Self::strings(bytes, shape),
            datatype => Self::numbers(memory, bytes, datatype, shape),
        }
    }

    pub(super) fn as_ptr(&self) -> *const sys::OrtValue {
        self.value.as_ptr()
    }

    fn numbers(
        memory: &HostMemory,
        bytes: &'a [u8],
        datatype: Datatype,
        shape: &Shape,
    ) -> Result<Self, BackendError> {
        if shape.byte_size(datatype) != Some(bytes.len()) {
            return Err(BackendError::Failed(format!(
                "{} bytes cannot be a {datatype} tensor of shape {shape}",
                bytes.len()
            )));
        }
        let alignment = datatype.element_byte_size().unwrap_or(1);
        // A tensor that arrived behind a JSON header starts anywhere.
        let aligned =
            (!bytes.as_ptr().addr().is_multiple_of(alignment)).then(|| aligned_copy(bytes));
        let data = aligned
            .as_ref()
            .map_or(bytes.as_ptr(), |copy| copy.as_ptr().cast());
        let mut value = ptr::null_mut();
        // SAFETY: `data` is aligned and holds as many bytes as the shape needs (checked above); it
        // outlives the value, by the lifetime or by `_aligned`; ONNX Runtime only reads inputs.
        check(unsafe {
            (ort::api().CreateTensorWithDataAsOrtValue)(
                memory.0.as_ptr(),
                data.cast_mut().cast::<c_void>(),
                bytes.len(),
                shape.as_ptr(),
                shape.len(),
                element_type(datatype),
                &raw mut value,
            )
        })?;
        Ok(Self {
            value: NonNull::new(value).ok_or_else(null)?,
            _aligned: aligned,
            _lent: PhantomData,
        })
    }

    fn strings(serialised: &[u8], shape: &Shape) -> Result<Self, BackendError> {
        let mut allocator = ptr::null_mut();
        // SAFETY: `allocator` is where the call may write one pointer; the default allocator is
        // never freed.
        check(unsafe { (ort::api().GetAllocatorWithDefaultOptions)(&raw mut allocator) })?;
        let mut value = ptr::null_mut();
        // SAFETY: the allocator is valid, the shape has `len` dimensions, `value` can be written.
        check(unsafe {
            (ort::api().CreateTensorAsOrtValue)(
                allocator,
                shape.as_ptr(),
                shape.len(),
                element_type(Datatype::Bytes),
                &raw mut value,
            )
        })?;
        let this = Self {
            value: NonNull::new(value).ok_or_else(null)?,
            _aligned: None,
            _lent: PhantomData,
        };
        let elements = shape.element_count().unwrap_or(0);
        if BytesTensor::element_count(serialised) != Some(elements) {
            return Err(BackendError::Failed(format!(
                "a BYTES tensor does not hold the {elements} elements of its shape"
            )));
        }
        for (index, element) in BytesTensor::new(serialised).enumerate() {
            this.set_string(index, element.unwrap_or_default())?;
        }
        Ok(this)
    }

    /// Sets one element by length, so that NUL bytes are data like any other.
    fn set_string(&self, index: usize, element: &[u8]) -> Result<(), BackendError> {
        let mut buffer = ptr::null_mut();
        // SAFETY: the value is a string tensor with more than `index` elements.
        check(unsafe {
            (ort::api().GetResizedStringTensorElementBuffer)(
                self.value.as_ptr(),
                index,
                element.len(),
                &raw mut buffer,
            )
        })?;
        // SAFETY: the call above made room for exactly so many bytes, which nobody else sees.
        unsafe { ptr::copy_nonoverlapping(element.as_ptr(), buffer.cast::<u8>(), element.len()) };
        Ok(())
    }
}

impl Drop for InputValue<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `new`, released once; what it points into is dropped after it.
        unsafe { (ort::api().ReleaseValue)(self.value.as_ptr()) };
    }
}

/// A copy that is aligned for every element type.
fn aligned_copy(bytes: &[u8]) -> Vec<u64> {
    let mut copy = vec![0_u64; bytes.len().div_ceil(size_of::<u64>())];
    // SAFETY: the words hold at least `bytes.len()` bytes, and do not overlap `bytes`.
    unsafe {
        ptr::copy_nonoverlapping(bytes.as_ptr(), copy.as_mut_ptr().cast::<u8>(), bytes.len())
    };
    copy
}

/// An output that ONNX Runtime allocated.
pub(super) struct OutputValue(NonNull<sys::OrtValue>);

// SAFETY: a value is plain memory with a reference to its allocator, which is thread-safe; nothing
// about it belongs to the thread that made it.
unsafe impl Send for OutputValue {}

impl OutputValue {
    /// Takes the value over. `Err` for null.
    pub(super) fn from_raw(value: *mut sys::OrtValue) -> Result<Self, BackendError> {
        NonNull::new(value).map(Self).ok_or_else(null)
    }

    /// The tensor, in ONNX Runtime's own memory but for strings.
    pub(super) fn into_tensor(self, datatype: Datatype) -> Result<Tensor, BackendError> {
        let (element, shape) = self.type_and_shape()?;
        if element != element_type(datatype) {
            return Err(BackendError::Failed(format!(
                "an output is of ONNX type {element:?}, not {datatype}"
            )));
        }
        let data = match shape.byte_size(datatype) {
            Some(byte_size) => self.into_bytes(byte_size)?,
            None => self.strings(shape.element_count().unwrap_or(0))?.into(),
        };
        Ok(Tensor {
            datatype,
            shape,
            data: Buffer::Host(data),
        })
    }

    fn type_and_shape(&self) -> Result<(ElementType, Shape), BackendError> {
        let mut info = ptr::null_mut();
        // SAFETY: the value is valid, `info` can be written.
        check(unsafe { (ort::api().GetTensorTypeAndShape)(self.0.as_ptr(), &raw mut info) })?;
        let read = || {
            let mut element = ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
            // SAFETY: `info` is valid until it is released below.
            check(unsafe { (ort::api().GetTensorElementType)(info, &raw mut element) })?;
            let mut rank = 0;
            // SAFETY: as above.
            check(unsafe { (ort::api().GetDimensionsCount)(info, &raw mut rank) })?;
            let mut dims = vec![0_i64; rank];
            // SAFETY: as above; `dims` has room for `rank` dimensions.
            check(unsafe { (ort::api().GetDimensions)(info, dims.as_mut_ptr(), rank) })?;
            Ok((element, Shape::new(dims)))
        };
        let result = read();
        // SAFETY: made above, released once.
        unsafe { (ort::api().ReleaseTensorTypeAndShapeInfo)(info) };
        result
    }

    fn into_bytes(self, byte_size: usize) -> Result<Bytes, BackendError> {
        let mut data = ptr::null_mut();
        // SAFETY: the value is a tensor of numbers, `data` can be written.
        check(unsafe { (ort::api().GetTensorMutableData)(self.0.as_ptr(), &raw mut data) })?;
        if byte_size == 0 || data.is_null() {
            return Ok(Bytes::new());
        }
        Ok(Bytes::from_owner(OutputBytes {
            data: data.cast::<u8>().cast_const(),
            byte_size,
            _value: self,
        }))
    }

    fn strings(&self, count: usize) -> Result<Vec<u8>, BackendError> {
        let mut total = 0;
        // SAFETY: the value is a string tensor, `total` can be written.
        check(unsafe { (ort::api().GetStringTensorDataLength)(self.0.as_ptr(), &raw mut total) })?;
        let mut text = vec![0_u8; total];
        let mut offsets = vec![0_usize; count];
        // SAFETY: `text` has room for all bytes and `offsets` for all elements.
        check(unsafe {
            (ort::api().GetStringTensorContent)(
                self.0.as_ptr(),
                text.as_mut_ptr().cast::<c_void>(),
                total,
                offsets.as_mut_ptr(),
                count,
            )
        })?;
        let mut serialised = Vec::with_capacity(total + 4 * count);
        let ends = offsets.iter().skip(1).copied().chain([total]);
        for (&start, end) in offsets.iter().zip(ends) {
            let element = text.get(start..end).map(Cow::Borrowed).ok_or_else(null)?;
            push_element(&mut serialised, &element).ok_or_else(|| {
                BackendError::Failed("an output string is 4 GiB or longer".to_owned())
            })?;
        }
        Ok(serialised)
    }
}

impl Drop for OutputValue {
    fn drop(&mut self) {
        // SAFETY: taken over by `from_raw`, released once.
        unsafe { (ort::api().ReleaseValue)(self.0.as_ptr()) };
    }
}

/// The bytes of an output, and what keeps them.
struct OutputBytes {
    data: *const u8,
    byte_size: usize,
    _value: OutputValue,
}

// SAFETY: the bytes belong to the value, which can be sent; nothing writes them any more.
unsafe impl Send for OutputBytes {}

impl AsRef<[u8]> for OutputBytes {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the value holds so many initialised bytes at `data` for as long as it lives, and
        // nobody writes to them.
        unsafe { slice::from_raw_parts(self.data, self.byte_size) }
    }
}

fn element_type(datatype: Datatype) -> ElementType {
    match datatype {
        Datatype::Bool => ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL,
        Datatype::Uint8 => ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
        Datatype::Uint16 => ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16,
        Datatype::Uint32 => ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32,
        Datatype::Uint64 => ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64,
        Datatype::Int8 => ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8,
        Datatype::Int16 => ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16,
        Datatype::Int32 => ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
        Datatype::Int64 => ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
        Datatype::Fp16 => ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
        Datatype::Fp32 => ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        Datatype::Fp64 => ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE,
        Datatype::Bytes => ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING,
        Datatype::Bf16 => ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16,
    }
}

fn null() -> BackendError {
    BackendError::Failed("ONNX Runtime returned nothing where a value was due".to_owned())
}
