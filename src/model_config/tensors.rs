//! Inputs and outputs: their rules, and their typed form.

use std::collections::BTreeSet;

use super::{ConfigError, InputSpec, OutputSpec};
use crate::{
    proto::inference::{self as pb, DataType, model_input::Format},
    tensor::{Datatype, Shape},
};

pub(super) fn inputs(config: &pb::ModelConfig) -> Result<Vec<InputSpec>, ConfigError> {
    let mut seen = BTreeSet::new();
    config
        .input
        .iter()
        .map(|input| {
            once(&mut seen, "input", &input.name)
                .and_then(|()| one_input(config, input))
                .map_err(|fault| invalid(&fault, config))
        })
        .collect()
}

pub(super) fn outputs(config: &pb::ModelConfig) -> Result<Vec<OutputSpec>, ConfigError> {
    let mut seen = BTreeSet::new();
    config
        .output
        .iter()
        .map(|output| {
            once(&mut seen, "output", &output.name)
                .and_then(|()| one_output(config, output))
                .map_err(|fault| invalid(&fault, config))
        })
        .collect()
}

/// The tensor datatype of the schema's number.
pub(super) fn datatype_of(data_type: i32) -> Option<Datatype> {
    let index = usize::try_from(data_type).ok()?.checked_sub(1)?;
    Datatype::ALL.get(index).copied()
}

/// The schema's name of a tensor datatype.
pub(super) fn data_type_of(datatype: Datatype) -> DataType {
    match datatype {
        Datatype::Bool => DataType::TypeBool,
        Datatype::Uint8 => DataType::TypeUint8,
        Datatype::Uint16 => DataType::TypeUint16,
        Datatype::Uint32 => DataType::TypeUint32,
        Datatype::Uint64 => DataType::TypeUint64,
        Datatype::Int8 => DataType::TypeInt8,
        Datatype::Int16 => DataType::TypeInt16,
        Datatype::Int32 => DataType::TypeInt32,
        Datatype::Int64 => DataType::TypeInt64,
        Datatype::Fp16 => DataType::TypeFp16,
        Datatype::Fp32 => DataType::TypeFp32,
        Datatype::Fp64 => DataType::TypeFp64,
        Datatype::Bytes => DataType::TypeString,
        Datatype::Bf16 => DataType::TypeBf16,
    }
}

/// How the configuration writes that number.
pub(super) fn datatype_name(data_type: i32) -> String {
    DataType::try_from(data_type).map_or_else(
        |_| data_type.to_string(),
        |known| known.as_str_name().to_owned(),
    )
}

fn invalid(fault: &str, config: &pb::ModelConfig) -> ConfigError {
    ConfigError::Invalid(format!("{fault} for {}", config.name))
}

fn once<'a>(seen: &mut BTreeSet<&'a str>, what: &str, name: &'a str) -> Result<(), String> {
    if seen.insert(name) {
        Ok(())
    } else {
        Err(format!("model {what} '{name}' is given more than once"))
    }
}

fn one_input(config: &pb::ModelConfig, input: &pb::ModelInput) -> Result<InputSpec, String> {
    let common = Common {
        what: "input",
        name: &input.name,
        data_type: input.data_type,
        dims: &input.dims,
        reshape: input.reshape.as_ref(),
    };
    let datatype = common.check(config.max_batch_size)?;
    let format = Format::try_from(input.format).map_err(|_| {
        format!(
            "model input '{}' has unknown 'format' {}",
            input.name, input.format
        )
    })?;
    if format != Format::None && input.dims.len() != 3 {
        return Err("model input NHWC/NCHW require 3 dims".to_owned());
    }
    if input.allow_ragged_batch {
        return Err(unsupported("allow_ragged_batch"));
    }
    check_tensorrt_only(config, input.is_shape_tensor, input.is_non_linear_format_io)?;
    Ok(InputSpec {
        name: input.name.as_str().into(),
        datatype,
        dims: Shape::from(input.dims.as_slice()),
        reshape: common.reshaped(),
        optional: input.optional,
    })
}

fn one_output(config: &pb::ModelConfig, output: &pb::ModelOutput) -> Result<OutputSpec, String> {
    let common = Common {
        what: "output",
        name: &output.name,
        data_type: output.data_type,
        dims: &output.dims,
        reshape: output.reshape.as_ref(),
    };
    let datatype = common.check(config.max_batch_size)?;
    if output.is_shape_tensor && config.backend == "tensorrt" {
        return Err(unsupported("is_shape_tensor"));
    }
    check_tensorrt_only(
        config,
        output.is_shape_tensor,
        output.is_non_linear_format_io,
    )?;
    Ok(OutputSpec {
        name: output.name.as_str().into(),
        datatype,
        dims: Shape::from(output.dims.as_slice()),
        reshape: common.reshaped(),
        label_filename: Some(output.label_filename.clone()).filter(|file| !file.is_empty()),
    })
}

fn unsupported(field: &str) -> String {
    format!("'{field}' is not supported by this version of Despina")
}

fn check_tensorrt_only(
    config: &pb::ModelConfig,
    shape_tensor: bool,
    non_linear: bool,
) -> Result<(), String> {
    if non_linear {
        return Err(match config.backend.as_str() {
            "tensorrt" => unsupported("is_non_linear_format_io"),
            _ => "Non-linear IO format is only supported for the TensorRT platform".to_owned(),
        });
    }
    match shape_tensor && config.backend != "tensorrt" {
        true => Err("shape tensors are only supported for the TensorRT platform".to_owned()),
        false => Ok(()),
    }
}

/// What inputs and outputs have in common.
struct Common<'a> {
    what: &'static str,
    name: &'a str,
    data_type: i32,
    dims: &'a [i64],
    reshape: Option<&'a pb::ModelTensorReshape>,
}

impl Common<'_> {
    fn check(&self, max_batch_size: i32) -> Result<Datatype, String> {
        let what = self.what;
        if self.name.is_empty() {
            return Err(format!("model {what} must specify 'name'"));
        }
        let subject = format!("model {what} '{}'", self.name);
        let Some(datatype) = datatype_of(self.data_type) else {
            return Err(format!("{subject} must specify 'data_type'"));
        };
        if self.dims.is_empty() {
            return Err(format!("{subject} must specify 'dims'"));
        }
        if let Some(dim) = bad_dim(self.dims) {
            return Err(format!(
                "{subject} dimension must be integer >= 1, or -1 to indicate a variable-size \
                 dimension, not {dim}"
            ));
        }
        if let Some(reshape) = self.reshape {
            self.check_reshape(&subject, &reshape.shape, max_batch_size)?;
        }
        Ok(datatype)
    }

    fn check_reshape(
        &self,
        subject: &str,
        shape: &[i64],
        max_batch_size: i32,
    ) -> Result<(), String> {
        if shape.is_empty() && max_batch_size == 0 {
            return Err(format!(
                "{subject} cannot have empty reshape for non-batching model as scalar tensors are \
                 not supported"
            ));
        }
        if let Some(dim) = bad_dim(shape) {
            return Err(format!(
                "{subject} reshape dimensions must be integer >= 1, or -1 to indicate a \
                 variable-size dimension, not {dim}"
            ));
        }
        let shapes = || format!("{} and {}", Shape::from(self.dims), Shape::from(shape));
        if variable_count(self.dims) != variable_count(shape) {
            return Err(format!(
                "{subject} has different number of variable-size dimensions for dims and reshape: \
                 {}",
                shapes()
            ));
        }
        if run_sizes(self.dims).is_none() || run_sizes(self.dims) != run_sizes(shape) {
            return Err(format!(
                "{subject} has different size for dims and reshape: {}",
                shapes()
            ));
        }
        Ok(())
    }

    fn reshaped(&self) -> Option<Shape> {
        self.reshape
            .map(|reshape| Shape::from(reshape.shape.as_slice()))
    }
}

fn bad_dim(dims: &[i64]) -> Option<i64> {
    dims.iter().copied().find(|&dim| dim < 1 && dim != -1)
}

fn variable_count(dims: &[i64]) -> usize {
    dims.iter().filter(|&&dim| dim == -1).count()
}

/// Elements of each run of fixed dimensions, as the variable ones divide them; `None` on overflow.
/// With equal runs, every variable dimension keeps its meaning.
fn run_sizes(dims: &[i64]) -> Option<Vec<i64>> {
    dims.split(|&dim| dim == -1)
        .map(|run| {
            run.iter()
                .try_fold(1_i64, |size, &dim| size.checked_mul(dim))
        })
        .collect()
}
