//! Device memory of one owner, such as an instance: taken when it loads, given out in parts while it
//! runs, and given back all at once when it goes. Taking and freeing a device's memory holds up all of
//! the device, so it is not done in between; only who needs more than was foreseen gets more, and
//! keeps it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    PoolUsage,
    arena::{Arena, Part, class_byte_size},
    cuda::{Context, DeviceError, DeviceMemory, DeviceSpan},
};

/// Memory of a device.
#[derive(Debug)]
pub struct DevicePool {
    context: Arc<Context>,
    pieces: Mutex<Vec<Piece>>,
}

#[derive(Debug)]
struct Piece {
    memory: Arc<DeviceMemory>,
    arena: Arena,
}

impl DevicePool {
    /// Takes `byte_size` bytes of the device's memory; nothing if that is 0.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`] if it has not so much left.
    pub fn new(context: &Arc<Context>, byte_size: usize) -> Result<Arc<Self>, DeviceError> {
        let mut pieces = Vec::new();
        if byte_size > 0 {
            pieces.push(Piece::new(context, byte_size)?);
        }
        Ok(Arc::new(Self {
            context: Arc::clone(context),
            pieces: Mutex::new(pieces),
        }))
    }

    /// `byte_size` bytes, of any content. They come back when the last clone of the span is dropped.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`] if what was foreseen is used up, and the device has no more.
    pub fn take(self: &Arc<Self>, byte_size: usize) -> Result<DeviceSpan, DeviceError> {
        let (memory, taken) = self.take_part(byte_size)?;
        let offset = taken.part.offset;
        DeviceSpan::of(&memory, offset, byte_size, Arc::new(taken)).ok_or_else(|| {
            self.out_of_memory(byte_size) // An arena gives no part that its piece does not have.
        })
    }

    /// What it has and gave.
    pub fn usage(&self) -> PoolUsage {
        let pieces = self.pieces();
        PoolUsage {
            byte_size: pieces.iter().map(|piece| piece.arena.byte_size()).sum(),
            used_byte_size: pieces
                .iter()
                .map(|piece| piece.arena.used_byte_size())
                .sum(),
            overflow_count: pieces.len().saturating_sub(1) as u64,
        }
    }

    fn take_part(
        self: &Arc<Self>,
        byte_size: usize,
    ) -> Result<(Arc<DeviceMemory>, Taken), DeviceError> {
        let mut pieces = self.pieces();
        let found = pieces
            .iter_mut()
            .enumerate()
            .find_map(|(index, piece)| Some((index, piece.arena.take(byte_size)?)));
        let (piece, part) = match found {
            Some(found) => found,
            None => {
                let more =
                    class_byte_size(byte_size).ok_or_else(|| self.out_of_memory(byte_size))?;
                let mut piece = Piece::new(&self.context, more)?;
                let part = piece.arena.take(byte_size);
                pieces.push(piece);
                (
                    pieces.len() - 1,
                    part.ok_or_else(|| self.out_of_memory(byte_size))?,
                )
            }
        };
        let memory = Arc::clone(&pieces[piece].memory);
        let pool = Arc::clone(self);
        Ok((memory, Taken { pool, piece, part }))
    }

    fn out_of_memory(&self, byte_size: usize) -> DeviceError {
        DeviceError::OutOfMemory {
            device: self.context.device(),
            byte_size,
            free_byte_size: self.context.memory().map_or(0, |(free, _)| free),
        }
    }

    fn pieces(&self) -> MutexGuard<'_, Vec<Piece>> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Piece {
    fn new(context: &Arc<Context>, byte_size: usize) -> Result<Self, DeviceError> {
        Ok(Self {
            memory: DeviceMemory::new(context, byte_size)?,
            arena: Arena::new(byte_size),
        })
    }
}

/// A part that comes back when this is dropped.
#[derive(Debug)]
struct Taken {
    pool: Arc<DevicePool>,
    piece: usize,
    part: Part,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(piece) = self.pool.pieces().get_mut(self.piece) {
            piece.arena.give(&self.part);
        }
    }
}
