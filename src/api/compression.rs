//! The encodings gzip (RFC 1952) and deflate (RFC 1950, with its header), which both doors have.
//! Decompresses into memory that grows with what comes out and is bounded before it is taken; so a
//! bomb costs no more than the limit. Nothing here is on the way of a request that is not
//! compressed.

use std::{io::Read, str::FromStr, sync::Arc};

use bytes::Bytes;
pub(super) use flate2::Compression as Level;
use flate2::{
    Decompress, FlushDecompress, Status,
    bufread::GzDecoder,
    write::{GzEncoder, ZlibEncoder},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::{
    body::Chunks,
    status::{EXPANDED, TOO_LARGE},
};
use crate::{
    admission::{Charge, Limits},
    error::{Error, Result},
};

/// How much is decompressed at a time.
const PIECE_BYTE_SIZE: usize = 32 << 10;
/// What may come out whatever the ratio: small messages of equal bytes compress best, and harm
/// nobody.
const RATIO_FLOOR: usize = 1 << 20;
/// Up to so many bytes (well below a millisecond) are compressed where they are; more would keep a
/// thread of the front doors from everybody else.
const INLINE_BYTE_SIZE: usize = 16 << 10;

/// Whether and how hard answers to gRPC's `ModelInfer` are compressed, for clients that take it
/// (Triton's `--grpc-infer-response-compression-level`).
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ResponseCompression {
    /// They are not.
    #[default]
    None,
    /// As fast as can be.
    Low,
    /// In between.
    Medium,
    /// As small as can be.
    High,
}

impl ResponseCompression {
    pub(super) fn level(self) -> Option<Level> {
        match self {
            Self::None => None,
            Self::Low => Some(Level::fast()),
            Self::Medium => Some(Level::default()),
            Self::High => Some(Level::best()),
        }
    }
}

impl FromStr for ResponseCompression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "low" => Ok(Self::Low),
            "medium" => Ok(Self::Medium),
            "high" => Ok(Self::High),
            _ => Err("expected none, low, medium or high".to_owned()),
        }
    }
}

/// Places for bodies that are being compressed or decompressed. Who finds none waits, with nothing
/// in memory but the body as it came.
#[derive(Debug)]
pub struct Places(Arc<Semaphore>);

impl Places {
    /// So many, and at least one.
    pub fn new(count: usize) -> Self {
        let count = count.clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(count)))
    }

    /// Does `work` beside the doors. Its place is taken until it is done, though nobody wait for it
    /// any more.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let place = Arc::clone(&self.0).acquire_owned().await;
        let place = place.map_err(|_| stopped())?;
        let done = spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        done.await.unwrap_or_else(|_| Err(stopped()))
    }
}

/// A way to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `gzip`.
    Gzip,
    /// `deflate`, which is the zlib format.
    Deflate,
}

impl Encoding {
    /// The names of all of them.
    pub(super) const NAMES: &'static str = "gzip, deflate";

    /// The encoding of that name; case does not matter.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Gzip, Self::Deflate]
            .into_iter()
            .find(|encoding| encoding.name().eq_ignore_ascii_case(name))
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// What `body` was before it was compressed; `charge` holds it.
    ///
    /// # Errors
    /// Reason [`EXPANDED`] beyond the limit on decompressed bytes, [`TOO_LARGE`] beyond that on their ratio; as
    /// [`Charge::grow`];
    /// `InvalidArgument` for a body that is not in this encoding, not whole, or followed by something
    /// else.
    pub(super) async fn decompress(
        self,
        body: Bytes,
        limits: &Limits,
        places: &Places,
        charge: &mut Charge,
    ) -> Result<Bytes> {
        let whole = Bounded::new(Bounds::new(body.len(), limits), charge.another());
        let whole = places.work(move || self.inflate(&body, whole)).await?;
        charge.absorb(whole.charge);
        Ok(whole.bytes.into())
    }

    /// As the doors decompress a request's body, but on this thread.
    ///
    /// # Errors
    /// `ResourceExhausted` beyond the limits on decompressed bytes and on their ratio, and where
    /// they do not fit what all requests may hold; `InvalidArgument` for a body that is not in this
    /// encoding, not whole, or followed by something else.
    pub fn decompress_here(
        self,
        body: &[u8],
        limits: &Limits,
        charge: &mut Charge,
    ) -> Result<Bytes> {
        let whole = Bounded::new(Bounds::new(body.len(), limits), charge.another());
        let whole = self.inflate(body, whole)?;
        charge.absorb(whole.charge);
        Ok(whole.bytes.into())
    }

    /// `body` compressed.
    ///
    /// # Errors
    /// `Internal` if that fails.
    pub(super) async fn compress(
        self,
        body: Chunks,
        level: Level,
        places: &Places,
    ) -> Result<Bytes> {
        if usize::try_from(body.byte_size()).is_ok_and(|size| size <= INLINE_BYTE_SIZE) {
            return self.deflate(body, level);
        }
        places.work(move || self.deflate(body, level)).await
    }

    fn inflate(self, body: &[u8], whole: Bounded) -> Result<Bounded> {
        match self {
            Self::Gzip => inflate_gzip(body, whole),
            Self::Deflate => inflate_zlib(body, whole),
        }
        .map_err(|error| {
            error.prefixed(format_args!(
                "failed to decompress the {} data: ",
                self.name()
            ))
        })
    }

    fn deflate(self, body: Chunks, level: Level) -> Result<Bytes> {
        let written = match self {
            Self::Gzip => {
                let encoder = GzEncoder::new(Vec::new(), level);
                write_all(encoder, body).and_then(GzEncoder::finish)
            }
            Self::Deflate => {
                let encoder = ZlibEncoder::new(Vec::new(), level);
                write_all(encoder, body).and_then(ZlibEncoder::finish)
            }
        };
        written.map(Bytes::from).map_err(|error| {
            Error::internal("compression", "cannot compress the answer").with_source(error)
        })
    }
}

fn write_all<W: std::io::Write>(mut writer: W, body: Chunks) -> std::io::Result<W> {
    for piece in body.into_pieces() {
        writer.write_all(&piece)?;
    }
    Ok(writer)
}

/// One member, whose checksum and length are verified.
fn inflate_gzip(mut body: &[u8], mut whole: Bounded) -> Result<Bounded> {
    let mut decoder = GzDecoder::new(&mut body);
    let mut piece = [0; PIECE_BYTE_SIZE];
    loop {
        let count = decoder.read(&mut piece).map_err(|error| corrupt(&error))?;
        let Some(read) = piece.get(..count).filter(|read| !read.is_empty()) else {
            break;
        };
        whole.push(read)?;
    }
    refuse_rest(body.len())?;
    Ok(whole)
}

/// The reader of the library takes a stream that is cut short for whole, so this asks for the end.
fn inflate_zlib(body: &[u8], mut whole: Bounded) -> Result<Bounded> {
    let mut state = Decompress::new(true);
    let mut piece = [0; PIECE_BYTE_SIZE];
    let mut rest = body;
    loop {
        let before = (state.total_in(), state.total_out());
        let status = state
            .decompress(rest, &mut piece, FlushDecompress::None)
            .map_err(|error| corrupt(&error))?;
        let consumed = difference(state.total_in(), before.0);
        let produced = difference(state.total_out(), before.1);
        rest = rest.get(consumed..).unwrap_or_default();
        whole.push(piece.get(..produced).unwrap_or_default())?;
        match status {
            Status::StreamEnd => break,
            Status::Ok | Status::BufError if consumed + produced > 0 => {}
            Status::Ok | Status::BufError => return Err(corrupt(&"it is cut short")),
        }
    }
    refuse_rest(rest.len())?;
    Ok(whole)
}

fn difference(after: u64, before: u64) -> usize {
    usize::try_from(after - before).unwrap_or(usize::MAX)
}

/// How much may come out.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    byte_size: usize,
    by_ratio: usize,
    ratio: usize,
}

impl Bounds {
    fn new(compressed: usize, limits: &Limits) -> Self {
        let ratio = limits.decompression_ratio;
        Self {
            byte_size: limits.decompressed_byte_size,
            by_ratio: compressed.saturating_mul(ratio).max(RATIO_FLOOR),
            ratio,
        }
    }

    fn check(self, byte_size: usize) -> Result<()> {
        let (reason, message) = if byte_size > self.byte_size {
            let words = format!(
                "Decompressed data size exceeds the maximum allowed value of {} bytes. Use \
                 --http-max-input-size to increase the limit.",
                self.byte_size
            );
            (EXPANDED, words)
        } else if byte_size > self.by_ratio {
            let words = format!(
                "the decompressed bytes exceed the limit of {} times their compressed size",
                self.ratio
            );
            (TOO_LARGE, words)
        } else {
            return Ok(());
        };
        Err(Error::resource_exhausted(reason, message))
    }
}

/// Bytes that grow by doubling, and never past what is allowed.
struct Bounded {
    bytes: Vec<u8>,
    bounds: Bounds,
    /// Holds what `bytes` has room for.
    charge: Charge,
}

impl Bounded {
    fn new(bounds: Bounds, charge: Charge) -> Self {
        Self {
            bytes: Vec::new(),
            bounds,
            charge,
        }
    }

    fn push(&mut self, piece: &[u8]) -> Result<()> {
        let byte_size = self.bytes.len().saturating_add(piece.len());
        self.bounds.check(byte_size)?;
        if byte_size > self.bytes.capacity() {
            let most = self.bounds.byte_size.min(self.bounds.by_ratio);
            let capacity = self
                .bytes
                .capacity()
                .saturating_mul(2)
                .min(most)
                .max(byte_size);
            self.charge.grow(capacity - self.bytes.capacity())?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

fn refuse_rest(byte_size: usize) -> Result<()> {
    if byte_size == 0 {
        return Ok(());
    }
    Err(corrupt(&format_args!("{byte_size} bytes follow its end")))
}

fn corrupt(why: &dyn std::fmt::Display) -> Error {
    Error::invalid_argument("compressed_data", why.to_string())
}

fn stopped() -> Error {
    Error::internal("compression", "the compression was stopped")
}

#[cfg(test)]
#[path = "compression_tests.rs"]
mod tests;
