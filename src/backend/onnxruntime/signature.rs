//! What a session says of its inputs and outputs.

use ort::{
    session::Session,
    value::{Outlet, TensorElementType, ValueType},
};

use crate::{
    backend::BackendError,
    model_config::{EngineSignature, EngineTensor},
    tensor::{Datatype, Shape},
};

/// What the session says of its inputs and outputs.
pub(super) fn signature(session: &Session) -> Result<EngineSignature, BackendError> {
    let tensors = |outlets: &[Outlet]| outlets.iter().map(tensor).collect::<Result<Vec<_>, _>>();
    Ok(EngineSignature {
        inputs: tensors(session.inputs())?,
        outputs: tensors(session.outputs())?,
        max_batch_size: None,
    })
}

fn tensor(outlet: &Outlet) -> Result<EngineTensor, BackendError> {
    let unsupported = || {
        BackendError::InvalidModel(format!(
            "'{}' is of type {}, which KServe v2 cannot carry",
            outlet.name(),
            outlet.dtype()
        ))
    };
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return Err(unsupported());
    };
    Ok(EngineTensor {
        name: outlet.name().to_owned(),
        datatype: datatype(*ty).ok_or_else(unsupported)?,
        dims: shape.iter().copied().collect::<Shape>(),
        is_shape: false,
    })
}

fn datatype(element: TensorElementType) -> Option<Datatype> {
    Some(match element {
        TensorElementType::Bool => Datatype::Bool,
        TensorElementType::Uint8 => Datatype::Uint8,
        TensorElementType::Uint16 => Datatype::Uint16,
        TensorElementType::Uint32 => Datatype::Uint32,
        TensorElementType::Uint64 => Datatype::Uint64,
        TensorElementType::Int8 => Datatype::Int8,
        TensorElementType::Int16 => Datatype::Int16,
        TensorElementType::Int32 => Datatype::Int32,
        TensorElementType::Int64 => Datatype::Int64,
        TensorElementType::Float16 => Datatype::Fp16,
        TensorElementType::Float32 => Datatype::Fp32,
        TensorElementType::Float64 => Datatype::Fp64,
        TensorElementType::String => Datatype::Bytes,
        TensorElementType::Bfloat16 => Datatype::Bf16,
        _ => return None,
    })
}
