use std::{fs, os::unix::fs::symlink, path::Path};

use super::*;
use crate::{error::ErrorKind, tensor::Buffer};

/// Regions whose memory is in a folder of the test's own.
fn regions(folder: &Path, limit: usize) -> Regions {
    Regions::new(&Config { enabled: true }, limit, None).in_folder(folder.into())
}

fn reference(region: &str, offset: u64, byte_size: u64) -> Reference {
    Reference {
        region: region.to_owned(),
        offset,
        byte_size,
    }
}

/// A folder with memory of ten bytes under key `/k`, of which region `r` is the last eight.
fn registered() -> (tempfile::TempDir, Regions) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("k"), b"0123456789").unwrap();
    let regions = regions(folder.path(), 2);
    regions.register_system("r", "/k", 2, 8).unwrap();
    (folder, regions)
}

#[test]
fn bytes_are_read_and_written_where_the_region_is() {
    let (folder, regions) = registered();
    let span = regions.find(reference("r", 1, 3)).unwrap();
    assert_eq!(span.read().unwrap().host().unwrap(), b"345");
    span.write(&Buffer::from(b"ab".to_vec())).unwrap();
    assert_eq!(fs::read(folder.path().join("k")).unwrap(), b"012ab56789");
    let error = span.write(&Buffer::from(b"abcd".to_vec())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(fs::read(folder.path().join("k")).unwrap(), b"012ab56789");
}

#[test]
fn nothing_outside_the_region_can_be_meant() {
    let (_folder, regions) = registered();
    let refusal = |offset, byte_size| {
        let error = regions.find(reference("r", offset, byte_size)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        error.message().to_owned()
    };
    for (offset, byte_size) in [(8, 1), (9, 0), (u64::MAX, 1), (u64::MAX - 31, 64)] {
        let message = refusal(offset, byte_size);
        assert!(
            message.starts_with("Invalid offset for shared memory region: 'r'"),
            "{message}"
        );
    }
    for (offset, byte_size) in [(0, 9), (7, 2), (0, u64::MAX), (7, u64::MAX - 7)] {
        let message = refusal(offset, byte_size);
        let words = "Invalid offset + byte size for shared memory region: 'r'";
        assert!(message.starts_with(words), "{message}");
    }
    for (offset, byte_size) in [(1, u64::MAX), (7, u64::MAX - 6)] {
        let message = refusal(offset, byte_size);
        let words = "Integer overflow detected: byte_size ";
        assert!(message.starts_with(words), "{message}");
    }
    for (offset, byte_size) in [(0, 8), (7, 1), (8, 0)] {
        let span = regions.find(reference("r", offset, byte_size)).unwrap();
        assert_eq!(
            u64::try_from(span.read().unwrap().byte_size()),
            Ok(byte_size)
        );
    }
}

#[test]
fn memory_that_shrinks_fails_the_request_and_is_never_made_longer() {
    let (folder, regions) = registered();
    let span = regions.find(reference("r", 0, 8)).unwrap();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(folder.path().join("k"))
        .unwrap();
    for size in [9, 2, 0] {
        file.set_len(size).unwrap();
        for error in [
            span.read().unwrap_err(),
            span.write(&Buffer::from(vec![7; 8])).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(
                error.message().contains("'r': its memory is smaller"),
                "{error}"
            );
        }
        assert_eq!(file.metadata().unwrap().len(), size);
    }
}

#[test]
fn a_region_keeps_its_memory_though_file_and_name_go() {
    let (folder, regions) = registered();
    let span = regions.find(reference("r", 0, 2)).unwrap();
    fs::remove_file(folder.path().join("k")).unwrap();
    fs::write(folder.path().join("k"), b"another file").unwrap();
    regions.unregister(RegionKind::System, Some("r")).unwrap();
    assert_eq!(span.read().unwrap().host().unwrap(), b"23");
    drop(span);
    let error = regions.find(reference("r", 0, 2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.message(), "Unable to find shared memory region: 'r'");
}

#[test]
fn an_unregistered_region_is_there_while_requests_use_it() {
    let (folder, regions) = registered();
    let byte_sizes = || -> Vec<_> {
        let regions = regions.status(RegionKind::System, None).unwrap();
        regions.iter().map(|region| region.byte_size).collect()
    };
    let first = regions.find(reference("r", 0, 2)).unwrap();
    regions.unregister(RegionKind::System, None).unwrap();
    assert_eq!(byte_sizes(), [8]);
    let second = regions.find(reference("r", 0, 2)).unwrap();
    drop(first);
    assert_eq!(byte_sizes(), [8]);
    // Its name can be had meanwhile, and the other requests keep what they began with.
    regions.register_system("r", "/k", 0, 4).unwrap();
    assert_eq!(byte_sizes(), [4]);
    assert_eq!(second.read().unwrap().host().unwrap(), b"23");
    regions.unregister(RegionKind::System, Some("r")).unwrap();
    assert!(byte_sizes().is_empty());
    drop(folder);
}

#[test]
fn only_files_of_the_folder_itself_can_be_registered() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), b"secret").unwrap();
    symlink(outside.path().join("secret"), folder.path().join("link")).unwrap();
    fs::create_dir(folder.path().join("folder")).unwrap();
    fs::write(folder.path().join("k"), b"0123456789").unwrap();
    let regions = regions(folder.path(), 8);
    for (key, offset, byte_size) in [
        ("link", 0, 1),
        ("folder", 0, 1),
        ("nowhere", 0, 1),
        ("k", 0, 11),
        ("k", 10, 1),
        ("k", 0, 0),
        ("k", u64::MAX, 1),
        ("k", 1, u64::MAX),
    ] {
        let error = regions
            .register_system("r", key, offset, byte_size)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{key}");
        let words = "failed to register shared memory region 'r': invalid args";
        assert!(error.message().starts_with(words), "{error}");
        assert!(!error.message().contains("10 bytes"), "{error}");
    }
    assert_eq!(regions.status(RegionKind::System, None).unwrap(), []);
}

#[test]
fn names_are_taken_once_and_their_number_is_bounded() {
    let (folder, regions) = registered();
    let error = regions.register_system("r", "/k", 0, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(
        error.message(),
        "shared memory region 'r' already in manager"
    );
    regions.register_system("s", "/k", 0, 10).unwrap();
    let error = regions.register_system("t", "/k", 0, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    regions.unregister(RegionKind::System, None).unwrap();
    regions.register_system("t", "/k", 0, 1).unwrap();
    for name in ["", "a\nb", &"x".repeat(257)] {
        let error = regions.register_system(name, "/k", 0, 1).unwrap_err();
        assert!(
            error.message().contains("invalid args: its name"),
            "{error}"
        );
    }
    drop(folder);
}

#[test]
fn the_status_tells_what_is_registered() {
    let (_folder, regions) = registered();
    let expected = RegionStatus {
        name: "r".to_owned(),
        origin: Origin::System {
            key: "/k".to_owned(),
            offset: 2,
        },
        byte_size: 8,
    };
    let status = |kind, name| regions.status(kind, name);
    assert_eq!(
        status(RegionKind::System, None).unwrap(),
        std::slice::from_ref(&expected)
    );
    assert_eq!(status(RegionKind::System, Some("r")).unwrap(), [expected]);
    assert_eq!(status(RegionKind::Cuda, None).unwrap(), []);
    let message = |kind, name| status(kind, Some(name)).unwrap_err().message().to_owned();
    assert_eq!(
        message(RegionKind::System, "x"),
        "Unable to find system shared memory region: 'x'"
    );
    assert_eq!(
        message(RegionKind::Cuda, "r"),
        "The region named 'r' is not registered as CUDA shared memory"
    );
    assert!(regions.unregister(RegionKind::Cuda, Some("r")).is_err());
    regions.unregister(RegionKind::Cuda, None).unwrap();
    regions.unregister(RegionKind::System, Some("x")).unwrap();
    assert!(status(RegionKind::System, Some("r")).is_ok());
}

#[test]
fn what_is_off_says_how_to_turn_it_on() {
    let regions = Regions::new(&Config::default(), 8, None);
    for error in [
        regions.register_system("r", "/k", 0, 1).unwrap_err(),
        regions.register_cuda("r", &[0; 64], 0, 1).unwrap_err(),
        regions.unregister(RegionKind::System, None).unwrap_err(),
        regions.find(reference("r", 0, 1)).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unimplemented);
        assert!(
            error.message().contains("--allow-client-shm=true"),
            "{error}"
        );
    }
    assert_eq!(regions.status(RegionKind::System, None).unwrap(), []);
    assert!(!regions.offers(RegionKind::System));
}

#[test]
fn without_a_gpu_its_memory_cannot_be_registered() {
    let (_folder, regions) = registered();
    let error = regions.register_cuda("c", &[0; 64], 0, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(
        error.message(),
        "failed to register CUDA shared memory region: 'c', GPUs not supported"
    );
    assert!(regions.offers(RegionKind::System) && !regions.offers(RegionKind::Cuda));
}

/// A device whose memory is on the host.
#[derive(Debug)]
struct Simulated;

#[derive(Debug)]
struct SimulatedRegion(u64);

impl CudaMemory for Simulated {
    fn open(
        &self,
        _: &[u8; CUDA_HANDLE_BYTE_SIZE],
        _: u32,
        byte_size: u64,
    ) -> Result<Arc<dyn Region>> {
        Ok(Arc::new(SimulatedRegion(byte_size)))
    }
}

impl Region for SimulatedRegion {
    fn byte_size(&self) -> u64 {
        self.0
    }

    fn read(self: Arc<Self>, _: u64, byte_size: usize) -> Result<Buffer> {
        Ok(Buffer::from(vec![1; byte_size]))
    }

    fn write(&self, _: u64, _: &Buffer) -> Result<()> {
        Ok(())
    }
}

#[test]
fn memory_of_a_device_is_checked_before_and_used_like_any_other() {
    let regions = Regions::new(&Config { enabled: true }, 8, Some(Arc::new(Simulated)));
    for (handle, device) in [
        (&[0; 63][..], 0),
        (&[0; 65], 0),
        (&[0; 64], -1),
        (&[0; 64], 1 << 32),
    ] {
        let error = regions.register_cuda("c", handle, device, 4).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    regions.register_cuda("c", &[0; 64], 3, 4).unwrap();
    let status = regions.status(RegionKind::Cuda, None).unwrap();
    assert_eq!(status[0].origin, Origin::Cuda { device: 3 });
    let span = regions.find(reference("c", 1, 3)).unwrap();
    assert_eq!(span.read().unwrap().host().unwrap(), [1; 3]);
    assert!(regions.find(reference("c", 1, 4)).is_err());
    assert!(
        regions.register_system("c", "/k", 0, 1).is_err(),
        "one space of names"
    );
}
