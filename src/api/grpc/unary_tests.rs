use http_body_util::BodyExt;

use super::*;
use crate::{
    api::compression::{Encoding, Level},
    error::ErrorKind::InvalidArgument,
};

fn response(sizes: &[usize]) -> pb::ModelInferResponse {
    pb::ModelInferResponse {
        model_name: "m".to_owned(),
        model_version: "1".to_owned(),
        raw_output_contents: sizes
            .iter()
            .map(|&size| Bytes::from(vec![7; size]))
            .collect(),
        ..Default::default()
    }
}

async fn collect(chunks: Chunks) -> Bytes {
    chunks.collect().await.unwrap().to_bytes()
}

#[test]
fn reads_the_time_limit_in_every_unit_and_ignores_nonsense() {
    let read = |text: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", text.parse().unwrap());
        time_limit(&headers)
    };
    assert_eq!(read("2H"), Some(Duration::from_secs(7200)));
    assert_eq!(read("3M"), Some(Duration::from_secs(180)));
    assert_eq!(read("99999999S"), Some(Duration::from_secs(99_999_999)));
    assert_eq!(read("250m"), Some(Duration::from_millis(250)));
    assert_eq!(read("5u"), Some(Duration::from_micros(5)));
    assert_eq!(read("6n"), Some(Duration::from_nanos(6)));
    for bad in ["", "5", "S", "999999999S", "-1S", "1x", "1.5S"] {
        assert_eq!(read(bad), None, "{bad}");
    }
}

#[tokio::test]
async fn an_encoded_answer_is_the_message_as_protobuf_has_it() {
    for sizes in [
        &[][..],
        &[0],
        &[1, 2],
        &[COPY_BYTE_SIZE, 3, COPY_BYTE_SIZE + 1],
        &[COPY_BYTE_SIZE - 1, 100_000],
    ] {
        let message = response(sizes);
        let sent = collect(encode(message.clone(), usize::MAX, Envelope::None).unwrap()).await;
        assert_eq!(announced(&sent), Some(sent.len()));
        let expected = message.encode_to_vec();
        assert_eq!(sent[PREFIX_BYTE_SIZE..], expected, "{sizes:?}");
        let sent = collect(encode(message.clone(), usize::MAX, Envelope::Stream).unwrap()).await;
        let expected = encode_plain(&pb::ModelStreamInferResponse {
            error_message: String::new(),
            infer_response: Some(message),
        });
        assert_eq!(sent, collect(expected.unwrap()).await, "{sizes:?}");
    }
}

#[test]
fn large_tensors_are_sent_from_where_they_are() {
    let message = response(&[COPY_BYTE_SIZE]);
    let place = message.raw_output_contents[0].as_ptr();
    let mut chunks = encode(message, usize::MAX, Envelope::None).unwrap();
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut places = Vec::new();
    while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut chunks).poll_frame(&mut context) {
        places.push(frame.into_data().unwrap().as_ptr());
    }
    assert!(places.contains(&place));
}

#[test]
fn an_answer_beyond_the_limit_is_refused() {
    assert!(encode(response(&[100]), 50, Envelope::None).is_err());
}

#[test]
fn a_body_is_one_whole_plain_message() {
    let message = pb::ModelInferRequest {
        model_name: "m".to_owned(),
        raw_input_contents: vec![Bytes::from_static(b"abc")],
        ..Default::default()
    };
    let frame = |flag: u8, length: u32, message: &[u8]| {
        let body = [&[flag], &length.to_be_bytes()[..], message].concat();
        Bytes::from(body)
    };
    let encoded = message.encode_to_vec();
    let length = u32::try_from(encoded.len()).unwrap();
    let body = frame(0, length, &encoded);
    let (is_compressed, read) = super::message(body.clone()).unwrap();
    let mut charge = crate::api::tests::empty_api().budget.charge();
    let decoded = decode(read, &Limits::default(), &mut charge).unwrap();
    assert_eq!((is_compressed, &decoded), (false, &message));
    let span = body.as_ptr_range();
    assert!(span.contains(&decoded.raw_input_contents[0].as_ptr()));
    assert!(super::message(frame(1, length, &encoded)).unwrap().0);
    for bad in [
        frame(2, length, &encoded),
        frame(0, length + 1, &encoded),
        Bytes::from_static(b"\0\0"),
        Bytes::new(),
    ] {
        assert_eq!(super::message(bad).unwrap_err().kind(), InvalidArgument);
    }
    let nonsense = Bytes::from_static(b"\xff");
    let nonsense = decode(nonsense, &Limits::default(), &mut charge);
    assert_eq!(nonsense.unwrap_err().kind(), InvalidArgument);
}

#[tokio::test]
async fn a_compressed_answer_names_its_encoding() {
    let chunks = encode(response(&[100_000]), usize::MAX, Envelope::None).unwrap();
    let places = crate::api::Places::new(1);
    let answer = encoding::pack(chunks, (Encoding::Deflate, Level::fast()), &places);
    let sent = respond(answer.await.unwrap());
    assert_eq!(sent.headers()["grpc-encoding"], "deflate");
    let body = sent.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(announced(&body), Some(body.len()));
    assert!(body.len() < 10_000, "{}", body.len());
    let plain = Answer::plain(Chunks::default());
    assert!(!respond(plain).headers().contains_key("grpc-encoding"));
}

#[tokio::test]
async fn a_length_that_is_only_claimed_takes_no_memory() {
    let api = crate::api::tests::empty_api();
    let start = Bytes::from_static(b"\0\x7f\xff\xff\xf0abc");
    let body = Chunks::new([start.clone(), Bytes::from_static(b"d")]);
    let mut charge = api.budget.charge();
    let read = read_announced(body, usize::MAX, &api.patience(), &mut charge, announced)
        .await
        .unwrap();
    assert_eq!(read, &b"\0\x7f\xff\xff\xf0abcd"[..]);
    let error = read_announced(
        Chunks::new([start]),
        1 << 20,
        &api.patience(),
        &mut charge,
        announced,
    )
    .await;
    assert_eq!(error.unwrap_err().reason(), status::TOO_LARGE);
}
