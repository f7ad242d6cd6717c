//! Work on a front door's thread that takes longer than the other connections should wait.

use tokio::runtime::{Handle, RuntimeFlavor};

/// What takes about a millisecond at the speed of reading and writing JSON.
const LONG_BYTE_SIZE: usize = 256 << 10;

/// Does `work` on so many bytes. If they are many, the thread's other tasks go elsewhere meanwhile.
pub(super) fn on_bytes<T>(byte_size: usize, work: impl FnOnce() -> T) -> T {
    let can_move = || {
        let runtime = Handle::try_current().map(|handle| handle.runtime_flavor());
        matches!(runtime, Ok(RuntimeFlavor::MultiThread))
    };
    if byte_size < LONG_BYTE_SIZE || !can_move() {
        return work();
    }
    tokio::task::block_in_place(work)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn long_work_does_not_keep_the_only_thread_from_other_tasks() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let (other_ran, wait) = mpsc::channel();
        let worked = runtime.block_on(runtime.spawn(async move {
            tokio::spawn(async move { other_ran.send(()).unwrap() });
            on_bytes(LONG_BYTE_SIZE, || wait.recv().is_ok())
        }));
        assert!(worked.unwrap());
    }

    #[tokio::test]
    async fn short_work_and_work_that_cannot_move_stays_where_it_is() {
        assert_eq!(on_bytes(1, || 1), 1);
        assert_eq!(on_bytes(LONG_BYTE_SIZE, || 2), 2);
    }
}
