//! A server with one model that keeps state, which notes what is wrong with the sequences that it is sent.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

/// The server; its threads end with the test.
pub struct Keeper {
    /// Where it listens.
    pub address: String,
    seen: Arc<Mutex<Seen>>,
}

/// What it was sent.
#[derive(Debug, Default)]
pub struct Seen {
    /// Requests of each sequence that is over.
    pub lengths: Vec<usize>,
    /// Sequences that are not over.
    pub under_way: usize,
    /// What is wrong.
    pub faults: Vec<String>,
    /// By number: requests so far, and whether one is under way.
    open: BTreeMap<u64, (usize, bool)>,
}

impl Keeper {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let noted = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&noted);
                thread::spawn(move || serve(&stream, &seen));
            }
        });
        Self { address, seen }
    }

    /// What it was sent since the last time.
    pub fn take(&self) -> Seen {
        let mut seen = self.seen.lock().expect("what was seen");
        let mut taken = std::mem::take(&mut *seen);
        taken.under_way = taken.open.len();
        taken
    }
}

impl Seen {
    /// A request came; true if it is its sequence's last.
    fn begin(&mut self, parameters: &Value) -> (u64, bool) {
        let switch = |name: &str| parameters[name].as_bool();
        let id = parameters["sequence_id"].as_u64().unwrap_or_default();
        let (first, last) = (switch("sequence_start"), switch("sequence_end"));
        let (count, under_way) = self.open.get(&id).copied().unwrap_or_default();
        if first != Some(count == 0) || last.is_none() || under_way || !(10..14).contains(&id) {
            self.faults
                .push(format!("{count} {under_way} {parameters}"));
        }
        self.open.insert(id, (count + 1, true));
        (id, last == Some(true))
    }

    fn end(&mut self, id: u64, last: bool) {
        let Some((count, _)) = self.open.remove(&id) else {
            return;
        };
        if last {
            self.lengths.push(count);
        } else {
            self.open.insert(id, (count, false));
        }
    }
}

fn serve(stream: &TcpStream, seen: &Mutex<Seen>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.trim().is_empty() {
                break;
            }
            lines.push(line.to_lowercase());
        }
        let length = |name: &str| {
            let value = lines.iter().find_map(|line| line.strip_prefix(name));
            value.and_then(|value| value.trim().parse::<usize>().ok())
        };
        let size = length("content-length:").unwrap_or(0);
        let mut body = vec![0; size];
        reader.read_exact(&mut body).ok()?;
        let json = length("inference-header-content-length:").unwrap_or(size);
        let path = lines.first()?.split(' ').nth(1)?.to_owned();
        let mut under_way = None;
        let answer = match &path[..] {
            "/v2" => json!({ "name": "keeper", "version": "1" }),
            "/v2/models/keeper" => {
                let tensor = json!([{ "name": "X", "datatype": "INT32", "shape": [1] }]);
                json!({ "name": "keeper", "inputs": tensor, "outputs": [] })
            }
            "/v2/models/keeper/config" => json!({ "max_batch_size": 0, "sequence_batching": {} }),
            "/v2/models/keeper/infer" => {
                let request: Value = serde_json::from_slice(&body[..json]).expect("JSON");
                let mut seen = seen.lock().expect("what was seen");
                under_way = Some(seen.begin(&request["parameters"]));
                json!({ "model_name": "keeper", "outputs": [] })
            }
            _ => Value::Null,
        };
        if let Some((id, last)) = under_way {
            // Others that come before this one is answered get their chance to be noticed.
            (0..50).for_each(|_| thread::yield_now());
            // Before the answer leaves: the next request may come at once.
            seen.lock().expect("what was seen").end(id, last);
        }
        let status = if answer.is_null() {
            "404 Not Found"
        } else {
            "200 OK"
        };
        let text = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        let mut stream = stream;
        stream.write_all((head + &text).as_bytes()).ok()?;
    }
}
