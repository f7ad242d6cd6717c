//! The shared memory extensions: status, register, unregister.

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::{Response, StatusCode, body::Incoming};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{answer, metadata::document, repository::parse};
use crate::{
    api::{
        admit::Admitted,
        body::{self, Chunks},
    },
    error::{Error, Result},
    shared_memory::{Origin, RegionKind, RegionStatus},
};

/// Bytes of a register call's body.
const BODY_BYTE_SIZE: usize = 64 << 10;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SystemBody {
    key: Option<String>,
    offset: u64,
    byte_size: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CudaBody {
    raw_handle: Option<RawHandle>,
    device_id: Option<i64>,
    byte_size: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct RawHandle {
    b64: String,
}

/// The regions of one kind, or one of them; a list in either case.
pub(super) fn status(
    api: &Admitted<'_>,
    kind: RegionKind,
    name: Option<&str>,
) -> Result<Response<Chunks>> {
    let regions = api.regions()?.status(kind, name)?;
    Ok(document(&Value::Array(regions.iter().map(row).collect())))
}

fn row(status: &RegionStatus) -> Value {
    let RegionStatus {
        name,
        origin,
        byte_size,
    } = status;
    match origin {
        Origin::System { key, offset } => {
            json!({"name": name, "key": key, "offset": offset, "byte_size": byte_size})
        }
        Origin::Cuda { device } => {
            json!({"name": name, "device_id": device, "byte_size": byte_size})
        }
    }
}

/// Registers a region.
pub(super) async fn register(
    api: &Admitted<'_>,
    kind: RegionKind,
    name: Option<&str>,
    body: &mut Incoming,
) -> Result<Response<Chunks>> {
    api.refuse_when_exiting()?;
    let name = name.ok_or_else(|| missing("the region's name in the path"))?;
    let limit = BODY_BYTE_SIZE.min(api.limits.request_byte_size);
    let body = body::read(body, limit, &api.patience(), &mut api.budget.charge()).await?;
    match kind {
        RegionKind::System => {
            let body: SystemBody = parse(&body)?;
            let key = body.key.ok_or_else(|| missing("'key'"))?;
            let byte_size = body.byte_size.ok_or_else(|| missing("'byte_size'"))?;
            api.regions()?
                .register_system(name, &key, body.offset, byte_size)?;
        }
        RegionKind::Cuda => {
            let body: CudaBody = parse(&body)?;
            let handle = body.raw_handle.ok_or_else(|| missing("'raw_handle'"))?;
            let handle = BASE64_STANDARD
                .decode(handle.b64)
                .map_err(|error| refuse(format!("'raw_handle' is not base64: {error}")))?;
            let device = body.device_id.ok_or_else(|| missing("'device_id'"))?;
            let byte_size = body.byte_size.ok_or_else(|| missing("'byte_size'"))?;
            api.register_cuda(name.to_owned(), handle, device, byte_size)
                .await?;
        }
    }
    Ok(answer::empty(StatusCode::OK))
}

/// Unregisters a region, or all of one kind.
pub(super) fn unregister(
    api: &Admitted<'_>,
    kind: RegionKind,
    name: Option<&str>,
) -> Result<Response<Chunks>> {
    api.regions()?.unregister(kind, name)?;
    Ok(answer::empty(StatusCode::OK))
}

fn missing(what: &str) -> Error {
    refuse(format!(
        "{what} is missing, which is necessary to register shared memory"
    ))
}

fn refuse(message: String) -> Error {
    Error::invalid_argument("shared_memory_call", message)
}
