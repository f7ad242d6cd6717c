//! Trace files: each is one JSON array. Traces are appended as they come, so nothing piles up in
//! memory; a numbered file gets its name when it is complete.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use super::writer::Plan;

/// The files of one server.
#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    bytes_left: u64,
    /// The file without a number.
    main: Option<Array>,
    /// What is written under each setting that writes numbered files.
    series: HashMap<u64, Series>,
    next_number: u64,
    /// Faults that were told of already.
    told: [bool; 2],
}

/// Numbered files, one after the other.
#[derive(Debug, Default)]
struct Series {
    /// Traces in all of them.
    count: u32,
    open: Option<Part>,
}

/// A numbered file that is not complete.
#[derive(Debug)]
struct Part {
    array: Array,
    count: u32,
    path: PathBuf,
    named: PathBuf,
}

#[derive(Debug)]
struct Array {
    out: BufWriter<File>,
    is_empty: bool,
}

impl Files {
    /// Files named by `path`, with at most `byte_limit` bytes in all.
    pub(super) fn new(path: &Path, byte_limit: u64) -> Self {
        Self {
            path: path.to_owned(),
            bytes_left: byte_limit,
            main: None,
            series: HashMap::new(),
            next_number: 0,
            told: [false; 2],
        }
    }

    /// Appends a trace. What cannot be written is lost, and said in the log once.
    pub(super) fn add(&mut self, text: &[u8], plan: Plan) {
        let byte_size = u64::try_from(text.len()).unwrap_or(u64::MAX);
        let Some(left) = self.bytes_left.checked_sub(byte_size) else {
            if !std::mem::replace(&mut self.told[0], true) {
                tracing::warn!(file = %self.path.display(), "traces reached trace.byte_limit, no more are written");
            }
            return;
        };
        self.bytes_left = left;
        let added = if plan.per_file == 0 && plan.total.is_none() {
            self.add_to_main(text)
        } else {
            self.add_to_series(text, plan)
        };
        self.tell(added);
    }

    /// No more traces come under this setting.
    pub(super) fn close(&mut self, serial: u64) {
        if let Some(Series {
            open: Some(part), ..
        }) = self.series.remove(&serial)
        {
            let named = part.complete();
            self.tell(named);
        }
    }

    /// Has the files hold what was added.
    pub(super) fn flush(&mut self) {
        let main = self.main.as_mut();
        let flushed = main.map_or(Ok(()), |array| array.out.flush());
        self.tell(flushed);
    }

    /// Completes every file.
    pub(super) fn finish(mut self) {
        let serials: Vec<_> = self.series.keys().copied().collect();
        for serial in serials {
            self.close(serial);
        }
        if let Some(main) = self.main.take() {
            let ended = main.end();
            self.tell(ended);
        }
    }

    fn add_to_main(&mut self, text: &[u8]) -> io::Result<()> {
        let array = match &mut self.main {
            Some(array) => array,
            none => none.insert(Array::begin(&self.path)?),
        };
        array.push(text)
    }

    fn add_to_series(&mut self, text: &[u8], plan: Plan) -> io::Result<()> {
        let series = self.series.entry(plan.serial).or_default();
        let part = match &mut series.open {
            Some(part) => part,
            none => {
                let number = self.next_number;
                self.next_number += 1;
                none.insert(Part::begin(&self.path, number)?)
            }
        };
        part.array.push(text)?;
        part.count += 1;
        series.count += 1;
        let is_full = plan.per_file > 0 && part.count >= plan.per_file;
        let is_last = plan.total.is_some_and(|total| series.count >= total);
        match series.open.take_if(|_| is_full || is_last) {
            Some(part) => part.complete(),
            None => Ok(()),
        }
    }

    fn tell(&mut self, result: io::Result<()>) {
        if let Err(error) = result
            && !std::mem::replace(&mut self.told[1], true)
        {
            tracing::warn!(file = %self.path.display(), %error, "traces cannot be written");
        }
    }
}

impl Part {
    fn begin(path: &Path, number: u64) -> io::Result<Self> {
        let with = |suffix: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        let part = with(&format!(".{number}.part"));
        Ok(Self {
            array: Array::begin(&part)?,
            count: 0,
            path: part,
            named: with(&format!(".{number}")),
        })
    }

    fn complete(self) -> io::Result<()> {
        self.array.end()?;
        fs::rename(self.path, self.named)
    }
}

impl Array {
    fn begin(path: &Path) -> io::Result<Self> {
        let mut out = BufWriter::new(File::create(path)?);
        out.write_all(b"[")?;
        Ok(Self {
            out,
            is_empty: true,
        })
    }

    fn push(&mut self, text: &[u8]) -> io::Result<()> {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.out.write_all(b",")?;
        }
        self.out.write_all(text)
    }

    fn end(mut self) -> io::Result<()> {
        self.out.write_all(b"]")?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const PLAIN: Plan = Plan {
        serial: 1,
        per_file: 0,
        total: None,
    };

    fn files(byte_limit: u64) -> (Files, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Files::new(&folder.path().join("t"), byte_limit), folder)
    }

    /// Names and contents, by name.
    fn contents(folder: &TempDir) -> Vec<(String, String)> {
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut contents: Vec<_> = entries
            .map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        contents.sort();
        contents
    }

    fn is(folder: &TempDir, expected: &[(&str, &str)]) {
        let contents = contents(folder);
        let contents: Vec<_> = contents
            .iter()
            .map(|(name, text)| (&**name, &**text))
            .collect();
        assert_eq!(contents, expected);
    }

    #[test]
    fn without_bounds_there_is_one_file_that_can_be_read_meanwhile() {
        let (mut files, folder) = files(1000);
        files.add(b"1", PLAIN);
        let other = Plan { serial: 2, ..PLAIN };
        files.add(b"2", other);
        files.close(1);
        files.flush();
        is(&folder, &[("t", "[1,2")]);
        files.finish();
        is(&folder, &[("t", "[1,2]")]);
    }

    #[test]
    fn a_file_for_so_many_traces_is_named_when_it_has_them() {
        let (mut files, folder) = files(1000);
        let plan = Plan {
            per_file: 2,
            ..PLAIN
        };
        for text in ["1", "2", "3"] {
            files.add(text.as_bytes(), plan);
        }
        assert_eq!(contents(&folder)[0], ("t.0".to_owned(), "[1,2]".to_owned()));
        assert_eq!(contents(&folder)[1].0, "t.1.part");
        files.close(1);
        is(&folder, &[("t.0", "[1,2]"), ("t.1", "[3]")]);
    }

    #[test]
    fn the_last_of_a_number_of_traces_completes_the_file() {
        let (mut files, folder) = files(1000);
        let plan = Plan {
            total: Some(2),
            ..PLAIN
        };
        files.add(b"1", plan);
        files.add(b"2", plan);
        is(&folder, &[("t.0", "[1,2]")]);
    }

    #[test]
    fn nothing_is_written_beyond_the_limit() {
        let (mut files, folder) = files(3);
        files.add(b"12", PLAIN);
        files.add(b"34", PLAIN);
        files.add(b"5", PLAIN);
        files.finish();
        is(&folder, &[("t", "[12,5]")]);
    }
}
