//! HTTP/1.1 with one request at a time on a connection that is kept alive. Of an answer's head only
//! what its end depends on is read.

use super::{Answer, Broken, Kept, Message, Out, Outcome, Ticket, Wire};

/// A head may have so many bytes.
const MOST_HEAD: usize = 64 << 10;
/// So much of an error's body is shown.
const MOST_ERROR: usize = 4 << 10;

/// One connection.
#[derive(Debug, Default)]
pub(in crate::perf) struct HttpWire {
    request: Option<Waiting>,
    /// The beginning of a head that is not all there.
    head: Vec<u8>,
    body: Option<Body>,
    /// The server will close.
    closing: bool,
}

#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    keep: bool,
}

/// An answer whose head was read.
#[derive(Debug)]
struct Body {
    status: u16,
    left: usize,
    kept: Kept,
}

impl Wire for HttpWire {
    fn has_room(&self) -> bool {
        self.request.is_none() && !self.closing
    }

    fn send(&mut self, ticket: Ticket, message: &Message, keep: bool, out: &mut Out) {
        self.request = Some(Waiting { ticket, keep });
        out.put_shared(message.bytes.clone());
    }

    fn receive(
        &mut self,
        mut bytes: &[u8],
        _: &mut Out,
        answers: &mut Vec<Answer>,
    ) -> Result<(), Broken> {
        while !bytes.is_empty() {
            if self.body.is_none() {
                let Some(rest) = self.receive_head(bytes)? else {
                    return Ok(());
                };
                bytes = rest;
            }
            bytes = self.receive_body(bytes, answers);
        }
        Ok(())
    }

    fn unanswered(&self) -> Vec<Ticket> {
        self.request.iter().map(|waiting| waiting.ticket).collect()
    }
}

impl HttpWire {
    /// Reads a head; the bytes behind it, or `None` if it is not all there.
    fn receive_head<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<&'a [u8]>, Broken> {
        if self.request.is_none() {
            return Err(Broken("the server sent what nobody asked for".to_owned()));
        }
        let before = self.head.len();
        if before == 0
            && let Some(end) = head_end(bytes)
        {
            self.read_head(&bytes[..end])?;
            return Ok(bytes.get(end..));
        }
        self.head.extend_from_slice(bytes);
        let Some(end) = head_end(&self.head) else {
            if self.head.len() > MOST_HEAD {
                return Err(Broken(format!(
                    "the head of an answer has more than {MOST_HEAD} bytes"
                )));
            }
            return Ok(None);
        };
        let head = std::mem::take(&mut self.head);
        self.read_head(head.get(..end).unwrap_or_default())?;
        Ok(bytes.get(end - before..))
    }

    fn read_head(&mut self, head: &[u8]) -> Result<(), Broken> {
        let head = Head::parse(head)?;
        if head.status == 100 {
            return Ok(());
        }
        self.closing |= head.closes;
        self.body = Some(Body {
            status: head.status,
            left: head.body_byte_size.ok_or_else(|| {
                Broken("an answer has no Content-Length, and other ends are not read".to_owned())
            })?,
            kept: Kept {
                json_byte_size: head.json_byte_size,
                body: Vec::new(),
            },
        });
        Ok(())
    }

    /// Reads of the body what is there; the bytes behind it.
    fn receive_body<'a>(&mut self, bytes: &'a [u8], answers: &mut Vec<Answer>) -> &'a [u8] {
        let (Some(body), Some(request)) = (&mut self.body, &self.request) else {
            return bytes;
        };
        let (taken, rest) = bytes.split_at(body.left.min(bytes.len()));
        body.left -= taken.len();
        let failed = body.status != 200;
        if request.keep || (failed && body.kept.body.len() < MOST_ERROR) {
            body.kept.body.extend_from_slice(taken);
        }
        if body.left == 0
            && let (Some(body), Some(request)) = (self.body.take(), self.request.take())
        {
            answers.push(Answer {
                ticket: request.ticket,
                outcome: body.outcome(request.keep),
            });
        }
        rest
    }
}

impl Body {
    fn outcome(self, keep: bool) -> Outcome {
        if self.status == 200 {
            return Outcome::Done(keep.then_some(self.kept));
        }
        let text = String::from_utf8_lossy(&self.kept.body);
        let json: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        let error = json.as_ref().and_then(|json| json.get("error")?.as_str());
        let text = error.unwrap_or_else(|| text.trim());
        Outcome::Failed(format!("HTTP {}: {text}", self.status))
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    // Lines are skipped whole; the end is an empty one.
    while let Some(line) = bytes.get(from..)?.iter().position(|&byte| byte == b'\n') {
        from += line + 1;
        if bytes.get(from..)?.starts_with(b"\r\n") {
            return Some(from + 2);
        }
    }
    None
}

/// What a head says of its answer's end.
#[derive(Debug, Default, PartialEq)]
struct Head {
    status: u16,
    body_byte_size: Option<usize>,
    json_byte_size: Option<usize>,
    closes: bool,
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Self, Broken> {
        let mut lines = bytes.split(|&byte| byte == b'\n');
        let status = lines.next().and_then(|line| {
            let rest = line.strip_prefix(b"HTTP/1.")?;
            number(rest.get(2..5)?)
        });
        let mut head = Self {
            status: status
                .and_then(|status| u16::try_from(status).ok())
                .ok_or_else(|| Broken("what the server sent is not HTTP/1.1".to_owned()))?,
            ..Self::default()
        };
        for line in lines {
            head.read_field(line);
        }
        Ok(head)
    }

    fn read_field(&mut self, line: &[u8]) {
        let value = |name: &str| {
            let (field, rest) = line.split_at_checked(name.len())?;
            let value = rest.strip_prefix(b":")?;
            field
                .eq_ignore_ascii_case(name.as_bytes())
                .then(|| value.trim_ascii())
        };
        // Most lines differ in their first letter.
        match line.first().map(u8::to_ascii_lowercase) {
            Some(b'c') => {
                if let Some(value) = value("content-length") {
                    self.body_byte_size = number(value);
                } else if let Some(value) = value("connection") {
                    self.closes |= value.eq_ignore_ascii_case(b"close");
                }
            }
            Some(b'i') => {
                if let Some(value) = value("inference-header-content-length") {
                    self.json_byte_size = number(value);
                }
            }
            _ => {}
        }
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
