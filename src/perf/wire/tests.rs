use super::*;
use bytes::Bytes;

fn message(bytes: impl Into<Bytes>) -> Message {
    Message {
        bytes: bytes.into(),
        decoupled: false,
        marks: None,
    }
}

/// All that is to be sent.
fn sent(out: &mut Out) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert!(out.write(&mut bytes).unwrap());
    bytes
}

/// The answers to what is received in pieces of that size.
fn received(wire: &mut impl Wire, bytes: &[u8], size: usize, out: &mut Out) -> Vec<Answer> {
    let mut answers = Vec::new();
    for piece in bytes.chunks(size) {
        wire.receive(piece, out, &mut answers).unwrap();
    }
    answers
}

#[test]
fn http_answers_end_where_their_heads_say_however_they_arrive() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\ninference-header-content-length: 2\r\n\
                   CONTENT-LENGTH: 5\r\n\r\n{}abc";
    for size in [1, 2, 7, 1000] {
        let mut wire = HttpWire::default();
        let mut out = Out::default();
        for (ticket, keep) in [(3, false), (4, true)] {
            assert!(wire.has_room());
            wire.send(ticket, &message("GET"), keep, &mut out);
            assert!(!wire.has_room());
            let answers = received(&mut wire, answer, size, &mut out);
            let [
                Answer {
                    ticket: got,
                    outcome: Outcome::Done(kept),
                },
            ] = &answers[..]
            else {
                panic!("{answers:?}");
            };
            assert_eq!((*got, kept.is_some()), (ticket, keep));
            if let Some(kept) = kept {
                assert_eq!(
                    (kept.json_byte_size, &kept.body[..]),
                    (Some(2), &b"{}abc"[..])
                );
            }
        }
        assert_eq!(sent(&mut out), b"GETGET");
    }
}

#[test]
fn http_errors_are_told_in_the_servers_words() {
    let cases = [
        (
            "HTTP/1.1 400 Bad\r\ncontent-length: 15\r\n\r\n{\"error\":\"why\"}",
            "HTTP 400: why",
        ),
        (
            "HTTP/1.1 503 X\r\ncontent-length: 4\r\n\r\nbusy",
            "HTTP 503: busy",
        ),
    ];
    for (answer, due) in cases {
        let mut wire = HttpWire::default();
        let mut out = Out::default();
        wire.send(0, &message("x"), false, &mut out);
        let answers = received(&mut wire, answer.as_bytes(), 9, &mut out);
        let [
            Answer {
                outcome: Outcome::Failed(reason),
                ..
            },
        ] = &answers[..]
        else {
            panic!("{answers:?}");
        };
        assert_eq!(reason, due);
    }
}

#[test]
fn http_that_has_no_known_end_breaks_the_connection() {
    for answer in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "SSH-2.0\r\n\r\n",
    ] {
        let mut wire = HttpWire::default();
        let mut out = Out::default();
        wire.send(7, &message("x"), false, &mut out);
        let result = wire.receive(answer.as_bytes(), &mut out, &mut Vec::new());
        assert!(result.is_err(), "{answer}");
        assert_eq!(wire.unanswered(), [7]);
    }
    let unasked = HttpWire::default().receive(b"HTTP", &mut Out::default(), &mut Vec::new());
    assert!(unasked.is_err());
}

fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Out::default();
    frames::put(kind, flags, stream, body, &mut out);
    sent(&mut out)
}

fn open(calls: Calls) -> (GrpcWire, Out) {
    let block = HeaderBlock::grpc("host", "/service/Method", &[], false);
    let mut out = Out::default();
    let wire = GrpcWire::open(calls, block, 2, &mut out);
    assert!(sent(&mut out).starts_with(frames::PREFACE));
    (wire, out)
}

/// `grpc-status: 0`, as a literal.
const GOOD: &[u8] = b"\x00\x0bgrpc-status\x010";

/// The frames in `bytes`: kind, stream, length.
fn heads(mut bytes: &[u8]) -> Vec<(u8, u32, usize)> {
    let mut reader = frames::Reader::default();
    let mut heads = Vec::new();
    while let Some(piece) = reader.next(&mut bytes).unwrap() {
        heads.push(match piece {
            frames::Piece::Data { stream, bytes, .. } => (frames::kind::DATA, stream, bytes.len()),
            frames::Piece::Frame { head, body } => (head.kind, head.stream, body.len()),
        });
    }
    heads
}

#[test]
fn grpc_calls_share_a_connection_and_end_with_their_trailers() {
    let answer = [
        frame(frames::kind::SETTINGS, 0, 0, &[]),
        frame(frames::kind::HEADERS, frames::END_HEADERS, 3, &[0x88]),
        frame(frames::kind::DATA, 0, 3, b"\0\0\0\0\x03abc"),
        frame(
            frames::kind::HEADERS,
            frames::END_HEADERS | frames::END_STREAM,
            3,
            GOOD,
        ),
        frame(
            frames::kind::HEADERS,
            frames::END_HEADERS | frames::END_STREAM,
            1,
            b"\x00\x0bgrpc-status\x015\x00\x0cgrpc-message\x04gone",
        ),
    ]
    .concat();
    for size in [1, 5, 10_000] {
        let (mut wire, mut out) = open(Calls::Unary);
        wire.send(10, &message("x"), false, &mut out);
        wire.send(11, &message("y"), true, &mut out);
        assert!(!wire.has_room());
        let answers = received(&mut wire, &answer, size, &mut out);
        let [
            Answer {
                ticket: 11,
                outcome: Outcome::Done(Some(kept)),
            },
            Answer {
                ticket: 10,
                outcome: Outcome::Failed(reason),
            },
        ] = &answers[..]
        else {
            panic!("{answers:?}");
        };
        assert_eq!(
            (&kept.body[..], &reason[..]),
            (&b"abc"[..], "gRPC status 5: gone")
        );
        assert!(wire.has_room() && wire.unanswered().is_empty());
    }
}

#[test]
fn later_calls_only_name_the_fields_that_the_first_one_sent() {
    let (mut wire, mut out) = open(Calls::Unary);
    wire.send(0, &message("x"), false, &mut out);
    wire.send(1, &message("x"), false, &mut out);
    let heads = heads(&sent(&mut out));
    let sizes: Vec<usize> = heads
        .iter()
        .filter(|(kind, ..)| *kind == frames::kind::HEADERS)
        .map(|(.., size)| *size)
        .collect();
    assert_eq!(sizes.len(), 2);
    assert!(sizes[0] > 60 && sizes[1] == 7, "{sizes:?}");
}

#[test]
fn a_request_waits_for_room_in_the_servers_windows() {
    let (mut wire, mut out) = open(Calls::Unary);
    wire.send(0, &message(vec![0; 100_000]), false, &mut out);
    let data = |out: &mut Out| -> usize {
        let heads = heads(&sent(out));
        let data = heads
            .iter()
            .filter(|(kind, ..)| *kind == frames::kind::DATA);
        data.map(|(.., size)| *size).sum()
    };
    assert_eq!(data(&mut out), 65_535);
    let more =
        |stream: u32, more: u32| frame(frames::kind::WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
    received(&mut wire, &more(0, 50_000), 100, &mut out);
    assert_eq!(data(&mut out), 0);
    received(&mut wire, &more(1, 20_000), 100, &mut out);
    assert_eq!(data(&mut out), 20_000);
    // A larger initial window is for streams that are open, too.
    let settings = [&[0, 4][..], &(65_535_u32 + 14_465).to_be_bytes()].concat();
    received(
        &mut wire,
        &frame(frames::kind::SETTINGS, 0, 0, &settings),
        100,
        &mut out,
    );
    assert_eq!(data(&mut out), 14_465);
}

#[test]
fn a_stream_answers_request_after_request() {
    let (mut wire, mut out) = open(Calls::Streaming);
    let response = frame(frames::kind::DATA, 0, 1, b"\0\0\0\0\x02\x12\0");
    let error = frame(frames::kind::DATA, 0, 1, b"\0\0\0\0\x05\x0a\x03bad");
    for (ticket, answer, good) in [
        (0, &response, true),
        (1, &error, false),
        (2, &response, true),
    ] {
        wire.send(ticket, &message("x"), false, &mut out);
        let answers = received(&mut wire, answer, 3, &mut out);
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].ticket, ticket);
        assert_eq!(matches!(answers[0].outcome, Outcome::Done(_)), good);
    }
    let headers = heads(&sent(&mut out));
    let opened = headers
        .iter()
        .filter(|(kind, ..)| *kind == frames::kind::HEADERS);
    assert_eq!(opened.count(), 1, "one stream serves all");
    wire.send(3, &message("x"), false, &mut out);
    let reset = frame(frames::kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    let answers = received(&mut wire, &reset, 100, &mut out);
    assert!(matches!(&answers[0].outcome, Outcome::Failed(reason) if reason.contains('8')));
}

#[test]
fn a_server_that_goes_away_gets_no_more_calls() {
    let (mut wire, mut out) = open(Calls::Unary);
    wire.send(0, &message("x"), false, &mut out);
    received(
        &mut wire,
        &frame(frames::kind::GOAWAY, 0, 0, &[0; 8]),
        100,
        &mut out,
    );
    assert!(!wire.has_room());
    assert_eq!(wire.unanswered(), [0]);
}

#[test]
fn pings_and_settings_are_answered() {
    let (mut wire, mut out) = open(Calls::Unary);
    let asked = [
        frame(frames::kind::PING, 0, 0, b"12345678"),
        frame(frames::kind::SETTINGS, 0, 0, &[]),
        frame(frames::kind::PING, frames::ACK, 0, b"12345678"),
    ];
    received(&mut wire, &asked.concat(), 100, &mut out);
    let due = [
        frame(frames::kind::PING, frames::ACK, 0, b"12345678"),
        frame(frames::kind::SETTINGS, frames::ACK, 0, &[]),
    ];
    assert_eq!(sent(&mut out), due.concat());
}
