//! Memory that clients share with the server: regions that a client registers under a name, and
//! that its requests then name instead of carrying tensors.
//!
//! Nothing of a client's is mapped. A region of system shared memory is an open file, inputs are
//! read out of it and outputs written into it at checked positions, so that a client which shrinks,
//! removes or overwrites its file spoils its own requests and nothing else. Who unregisters a
//! region lets it go with the last request that is using it, at once if there is none; until then
//! it is there for others, too, unless another one is registered under its name.
//!
//! Knows no protocol. Memory of CUDA devices comes in through [`CudaMemory`].

mod cuda;
mod entry;
mod key;
mod region;
mod system;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use self::{
    entry::Entry,
    key::Key,
    system::{FOLDER, OpenError, SystemRegion},
};
pub use self::{
    key::RESERVED_PREFIX,
    region::{CUDA_HANDLE_BYTE_SIZE, CudaMemory, Reference, Region, Span},
};
use crate::error::{Error, Result};

/// Settings.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether clients may register regions (Triton's `--allow-client-shm`).
    pub enabled: bool,
}

/// Every region that is registered. System and CUDA regions share one space of names.
#[derive(Debug)]
pub struct Regions {
    enabled: bool,
    limit: usize,
    folder: PathBuf,
    cuda: Option<Arc<dyn CudaMemory>>,
    table: Mutex<BTreeMap<String, Entry>>,
}

/// The two kinds of regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionKind {
    /// POSIX shared memory.
    System,
    /// Memory of a CUDA device.
    Cuda,
}

impl RegionKind {
    fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Cuda => "CUDA",
        }
    }
}

/// What is known of one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionStatus {
    /// The name that the client gave.
    pub name: String,
    /// Where the memory is.
    pub origin: Origin,
    /// Bytes of the region.
    pub byte_size: u64,
}

/// Where a region's memory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In POSIX shared memory.
    System {
        /// The key as the client wrote it.
        key: String,
        /// Bytes from the start of the key's memory to that of the region.
        offset: u64,
    },
    /// On a CUDA device.
    Cuda {
        /// The device's ordinal.
        device: u32,
    },
}

impl Regions {
    /// No region yet, and at most `limit` of them. Without `cuda` there is no GPU to share memory
    /// with.
    pub fn new(config: &Config, limit: usize, cuda: Option<Arc<dyn CudaMemory>>) -> Self {
        Self {
            enabled: config.enabled,
            limit,
            folder: FOLDER.into(),
            cuda,
            table: Mutex::default(),
        }
    }

    /// Takes `folder` for the one that POSIX shared memory is in.
    pub fn in_folder(self, folder: PathBuf) -> Self {
        Self { folder, ..self }
    }

    /// Whether regions of this kind can be registered.
    pub fn offers(&self, kind: RegionKind) -> bool {
        self.enabled && (kind == RegionKind::System || self.cuda.is_some())
    }

    /// Registers `byte_size` bytes, `offset` bytes into the POSIX shared memory of `key`.
    ///
    /// # Errors
    /// `Unimplemented` if shared memory is off, `AlreadyExists` if the name is taken,
    /// `ResourceExhausted` beyond the limit on regions, `InvalidArgument` if there is no such
    /// memory, if it is too small, or if the name or the key is not valid.
    pub fn register_system(
        &self,
        name: &str,
        key: &str,
        offset: u64,
        byte_size: u64,
    ) -> Result<()> {
        self.refuse_if_off()?;
        Reference::check_name(name)?;
        let file_name = Key::new(name, key)?;
        self.admit(name)?;
        let region = SystemRegion::open(&self.folder, &file_name, offset, byte_size)
            .map_err(|error| refused_memory(name, key, offset, byte_size, error))?;
        let origin = Origin::System {
            key: key.to_owned(),
            offset,
        };
        self.insert(name, origin, Arc::new(region))
    }

    /// Registers `byte_size` bytes of a CUDA device's memory, which another process has exported
    /// under `handle`.
    ///
    /// # Errors
    /// As [`Regions::register_system`], and `InvalidArgument` where there is no GPU.
    pub fn register_cuda(
        &self,
        name: &str,
        handle: &[u8],
        device: i64,
        byte_size: u64,
    ) -> Result<()> {
        self.refuse_if_off()?;
        Reference::check_name(name)?;
        let cuda = self.cuda.as_ref().ok_or_else(|| no_gpu(name))?;
        let handle = handle
            .first_chunk()
            .filter(|_| handle.len() == CUDA_HANDLE_BYTE_SIZE);
        let handle: &[u8; CUDA_HANDLE_BYTE_SIZE] = handle.ok_or_else(|| {
            refuse(format!(
                "failed to register CUDA shared memory region '{name}': the raw handle must have \
                 {CUDA_HANDLE_BYTE_SIZE} bytes"
            ))
        })?;
        let device = u32::try_from(device).map_err(|_| {
            refuse(format!(
                "failed to register CUDA shared memory region '{name}': {device} is no device id"
            ))
        })?;
        self.admit(name)?;
        let region = cuda.open(handle, device, byte_size)?;
        self.insert(name, Origin::Cuda { device }, region)
    }

    /// Unregisters a region, or all regions of this kind. Unknown names are no error. What requests
    /// in flight use stays until they are done.
    ///
    /// # Errors
    /// `Unimplemented` if shared memory is off, `InvalidArgument` if the region is of the other
    /// kind.
    pub fn unregister(&self, kind: RegionKind, name: Option<&str>) -> Result<()> {
        self.refuse_if_off()?;
        let mut table = self.lock();
        if let Some(name) = name
            && table.get(name).is_some_and(|entry| entry.kind() != kind)
        {
            return Err(other_kind(name, kind));
        }
        table.retain(|have, entry| {
            let is_meant = entry.kind() == kind && name.is_none_or(|name| name == have);
            if is_meant {
                entry.unregister()
            } else {
                entry.is_there()
            }
        });
        Ok(())
    }

    /// The regions of this kind in the order of their names, or only the one of that name. Answers
    /// though shared memory be off.
    ///
    /// # Errors
    /// `NotFound` if there is none of that name, `InvalidArgument` if it is of the other kind.
    pub fn status(&self, kind: RegionKind, name: Option<&str>) -> Result<Vec<RegionStatus>> {
        let mut table = self.lock();
        table.retain(|_, entry| entry.is_there());
        if let Some(name) = name {
            match table.get(name) {
                None => return Err(unknown(&format!("{} shared", kind.name()), name)),
                Some(entry) if entry.kind() != kind => return Err(other_kind(name, kind)),
                Some(_) => {}
            }
        }
        let wanted = |(have, entry): &(&String, &Entry)| {
            entry.kind() == kind && name.is_none_or(|name| name == *have)
        };
        let status = |(name, entry): (&String, &Entry)| {
            Some(RegionStatus {
                name: name.clone(),
                origin: entry.origin.clone(),
                byte_size: entry.region()?.byte_size(),
            })
        };
        Ok(table.iter().filter(wanted).filter_map(status).collect())
    }

    /// The bytes that a request means.
    ///
    /// # Errors
    /// `Unimplemented` if shared memory is off, `NotFound` for an unknown region, and
    /// `InvalidArgument` if it does not hold all of them.
    pub fn find(&self, reference: Reference) -> Result<Span> {
        self.refuse_if_off()?;
        let region = self.lock().get(&reference.region).and_then(Entry::region);
        match region {
            Some(region) => Span::new(region, reference),
            None => Err(unknown("shared", &reference.region)),
        }
    }

    fn insert(&self, name: &str, origin: Origin, region: Arc<dyn Region>) -> Result<()> {
        let mut table = self.lock();
        room(&mut table, name, self.limit)?;
        tracing::info!(
            name,
            ?origin,
            byte_size = region.byte_size(),
            "shared memory registered"
        );
        table.insert(name.to_owned(), Entry::new(origin, region));
        Ok(())
    }

    /// Whether a region of that name could be added, before anything is opened for it.
    fn admit(&self, name: &str) -> Result<()> {
        room(&mut self.lock(), name, self.limit)
    }

    fn refuse_if_off(&self) -> Result<()> {
        if self.enabled {
            return Ok(());
        }
        Err(Error::unimplemented(
            "shared_memory_disabled",
            "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to \
             enable.",
        ))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `table` has room for a region of that name. One that is leaving takes room, but not its
/// name.
fn room(table: &mut BTreeMap<String, Entry>, name: &str, limit: usize) -> Result<()> {
    table.retain(|_, entry| entry.is_there());
    if table.get(name).is_some_and(Entry::is_registered) {
        return Err(taken(name));
    }
    within_limit(table.len(), limit)
}

fn within_limit(count: usize, limit: usize) -> Result<()> {
    if count < limit {
        return Ok(());
    }
    Err(Error::resource_exhausted(
        "shared_memory_regions",
        format!(
            "{count} shared memory regions are registered, which is the limit; unregister one \
             first"
        ),
    ))
}

/// Says what was asked for and not why it was refused: whether a name exists in the machine's shared
/// memory, and how large it is, is not told to those who guess. The log has it.
fn refused_memory(name: &str, key: &str, offset: u64, byte_size: u64, why: OpenError) -> Error {
    tracing::info!(name, key, offset, byte_size, %why, "shared memory refused");
    refuse(format!(
        "failed to register shared memory region '{name}': invalid args: there must be shared \
         memory of key '{key}' that the server may read and write and that holds {byte_size} \
         bytes from offset {offset}"
    ))
    .with_source(why)
}

fn no_gpu(name: &str) -> Error {
    refuse(format!(
        "failed to register CUDA shared memory region: '{name}', GPUs not supported"
    ))
}

fn taken(name: &str) -> Error {
    Error::already_exists(
        "shared_memory_region",
        format!("shared memory region '{name}' already in manager"),
    )
}

fn unknown(kind: &str, name: &str) -> Error {
    Error::not_found(
        "shared_memory_region",
        format!(
            "Unable to find {kind} memory region: '{}'",
            region::excerpt(name)
        ),
    )
}

fn other_kind(name: &str, kind: RegionKind) -> Error {
    refuse(format!(
        "The region named '{name}' is not registered as {} shared memory",
        kind.name()
    ))
}

fn refuse(message: String) -> Error {
    Error::invalid_argument("shared_memory_region", message)
}
