//! What is run on the calls and tensors of clients that share memory: registered regions, and bytes
//! of them that requests name. Shared by the fuzz target and the smoke test; a finding is a byte
//! that is read or written outside of what was registered.

use std::{collections::HashMap, fs, path::Path};

use despina::{
    shared_memory::{Config, Reference, RegionKind, Regions},
    tensor::Buffer,
};

const KEY: &str = "k";
const FILE_BYTE_SIZE: usize = 96;
const MOST_REGIONS: usize = 3;

/// Calls, one after the other, held against what they must have done.
pub fn shared_memory(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("shm").join(KEY);
    fs::create_dir(folder.path().join("shm")).expect("a folder");
    fs::write(folder.path().join("secret"), [0xee; FILE_BYTE_SIZE]).expect("a file");
    let mut world = World {
        regions: Regions::new(&Config { enabled: true }, MOST_REGIONS, None)
            .in_folder(folder.path().join("shm")),
        contents: (0..FILE_BYTE_SIZE).map(|at| at.to_le_bytes()[0]).collect(),
        registered: HashMap::new(),
    };
    fs::write(&file, &world.contents).expect("a file");
    let mut calls = Calls(data);
    while let Some(call) = calls.byte() {
        world.act(call, &mut calls, &file);
        assert_eq!(fs::read(&file).expect("the file"), world.contents);
        assert!(world.registered.len() <= MOST_REGIONS);
    }
    let secret = fs::read(folder.path().join("secret")).expect("the other file");
    assert_eq!(secret, [0xee; FILE_BYTE_SIZE]);
}

struct World {
    regions: Regions,
    /// What must be in the file.
    contents: Vec<u8>,
    /// Where in the file each region begins, and its bytes.
    registered: HashMap<String, (u64, u64)>,
}

impl World {
    fn act(&mut self, call: u8, calls: &mut Calls<'_>, file: &Path) {
        match call % 6 {
            0 => self.register(calls),
            1 => self.read(calls.reference()),
            2 => self.write(calls.reference(), calls.byte()),
            3 => {
                let name = calls.name();
                let unregistered = self.regions.unregister(RegionKind::System, Some(&name));
                unregistered.expect("of this kind");
                self.registered.remove(&name);
            }
            4 => {
                let byte_size = usize::from(calls.byte().unwrap_or(0)).min(FILE_BYTE_SIZE);
                self.contents.resize(byte_size, 0xff);
                fs::write(file, &self.contents).expect("the file");
            }
            _ => {
                let regions = self.regions.status(RegionKind::System, None);
                let count = regions.expect("a list").len();
                assert_eq!(count, self.registered.len());
            }
        }
    }

    fn register(&mut self, calls: &mut Calls<'_>) {
        let (name, key) = (calls.name(), calls.key());
        let (offset, byte_size) = (calls.number(), calls.number());
        let result = self.regions.register_system(&name, &key, offset, byte_size);
        if result.is_ok() {
            assert_eq!(key.trim_start_matches('/'), KEY);
            let end = offset.checked_add(byte_size).expect("an end");
            assert!(byte_size > 0 && end <= self.contents.len() as u64);
            let other = self.registered.insert(name, (offset, byte_size));
            assert_eq!(other, None, "a name twice");
        }
    }

    fn read(&self, reference: Reference) {
        let place = self.place(&reference);
        let span = self.regions.find(reference);
        let read = span.and_then(|span| span.read());
        if let Ok(bytes) = &read {
            let (begin, end) = place.expect("only what is registered can be read");
            let bytes = bytes.host().expect("host memory");
            assert_eq!(bytes, &self.contents[begin..end]);
        }
    }

    fn write(&mut self, reference: Reference, value: Option<u8>) {
        let place = self.place(&reference);
        let byte_size = usize::try_from(reference.byte_size.min(200)).expect("a size");
        let tensor = Buffer::from(vec![value.unwrap_or(0); byte_size]);
        let span = self.regions.find(reference);
        if span.and_then(|span| span.write(&tensor)).is_ok() {
            let (begin, end) = place.expect("only what is registered can be written");
            self.contents[begin..end].fill(value.unwrap_or(0));
        }
    }

    /// Where in the file these bytes are, if all of them are in their region and in the file.
    fn place(&self, reference: &Reference) -> Option<(usize, usize)> {
        let (start, byte_size) = self.registered.get(&reference.region)?;
        let end = reference.offset.checked_add(reference.byte_size)?;
        let in_file = usize::try_from(start.checked_add(end)?).ok()?;
        let begin = usize::try_from(start.checked_add(reference.offset)?).ok()?;
        (end <= *byte_size && in_file <= self.contents.len()).then_some((begin, in_file))
    }
}

/// What the bytes that are left say.
struct Calls<'a>(&'a [u8]);

impl Calls<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// A small number in one byte, or any in nine.
    fn number(&mut self) -> u64 {
        let small = self.byte().unwrap_or(0);
        match self.0.split_first_chunk::<8>() {
            Some((number, rest)) if small >= 0xf0 => {
                self.0 = rest;
                u64::from_le_bytes(*number)
            }
            _ => u64::from(small),
        }
    }

    fn text(&mut self) -> String {
        let length = usize::from(self.byte().unwrap_or(0)).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }

    fn name(&mut self) -> String {
        match self.byte().unwrap_or(0) {
            0xff => self.text(),
            other => ["a", "b", "c", "d"][usize::from(other % 4)].to_owned(),
        }
    }

    fn key(&mut self) -> String {
        match self.byte().unwrap_or(0) {
            0xff => self.text(),
            0xfe => format!("/{KEY}"),
            _ => KEY.to_owned(),
        }
    }

    fn reference(&mut self) -> Reference {
        Reference {
            region: self.name(),
            offset: self.number(),
            byte_size: self.number(),
        }
    }
}
