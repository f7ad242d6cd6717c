use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    admission::{Budget, NO_ROOM},
    error::ErrorKind,
};

const BOTH: [Encoding; 2] = [Encoding::Gzip, Encoding::Deflate];

fn charge(limit: usize) -> Charge {
    Arc::new(Budget::new(limit)).charge()
}

fn compressed(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
    let body = Chunks::from(Bytes::copy_from_slice(bytes));
    encoding.deflate(body, Level::fast()).unwrap().to_vec()
}

fn limits(decompressed_byte_size: usize, decompression_ratio: usize) -> Limits {
    Limits {
        decompressed_byte_size,
        decompression_ratio,
        ..Limits::default()
    }
}

fn inflate(encoding: Encoding, body: &[u8], limits: &Limits) -> Result<Vec<u8>> {
    let whole = Bounded::new(Bounds::new(body.len(), limits), charge(usize::MAX));
    encoding.inflate(body, whole).map(|whole| whole.bytes)
}

#[test]
fn a_bomb_costs_no_more_than_the_limit() {
    for encoding in BOTH {
        let bomb = compressed(encoding, &vec![0; 8 << 20]);
        assert!(inflate(encoding, &bomb, &limits(8 << 20, 2000)).is_ok());
        for (limits, reason) in [
            (limits((8 << 20) - 1, 2000), EXPANDED),
            (limits(64 << 20, 100), TOO_LARGE),
        ] {
            let error = inflate(encoding, &bomb, &limits).unwrap_err();
            assert_eq!(error.reason(), reason, "{error}");
        }
        let bounds = Bounds::new(bomb.len(), &limits(100_000, 2000));
        let mut whole = Bounded::new(bounds, charge(100_000));
        while whole.push(&[0; 1000]).is_ok() {}
        assert_eq!(
            (whole.bytes.len(), whole.bytes.capacity()),
            (100_000, 100_000)
        );
    }
}

#[test]
fn what_does_not_fit_beside_other_requests_is_refused_while_it_grows() {
    for encoding in BOTH {
        let body = compressed(encoding, &[0; 100_000]);
        let bounds = Bounds::new(body.len(), &Limits::default());
        let refused = encoding.inflate(&body, Bounded::new(bounds, charge(99_999)));
        assert_eq!(refused.err().map(|error| error.reason()), Some(NO_ROOM));
    }
}

#[test]
fn small_bodies_may_have_any_ratio() {
    for encoding in BOTH {
        let body = compressed(encoding, &vec![0; RATIO_FLOOR]);
        assert!(inflate(encoding, &body, &limits(RATIO_FLOOR, 1)).is_ok());
        let body = compressed(encoding, &vec![0; RATIO_FLOOR + 1]);
        assert!(inflate(encoding, &body, &limits(usize::MAX, 1)).is_err());
    }
}

#[test]
fn what_is_cut_short_or_goes_on_is_refused() {
    for encoding in BOTH {
        let whole = compressed(encoding, b"Despina is a moon of Neptune");
        for length in 0..whole.len() {
            let error = inflate(encoding, &whole[..length], &Limits::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{length}");
        }
        let longer = [&whole[..], b"x"].concat();
        let error = inflate(encoding, &longer, &Limits::default()).unwrap_err();
        assert!(
            error.message().ends_with("1 bytes follow its end"),
            "{error}"
        );
    }
    let gzip = compressed(Encoding::Gzip, b"x");
    assert!(inflate(Encoding::Deflate, &gzip, &Limits::default()).is_err());
}

#[test]
fn names_are_those_of_the_protocols() {
    assert_eq!(Encoding::named("GZip"), Some(Encoding::Gzip));
    assert_eq!(Encoding::named("deflate"), Some(Encoding::Deflate));
    for name in ["", "br", "identity", "gzip,deflate", "x-gzip"] {
        assert_eq!(Encoding::named(name), None);
    }
}

#[tokio::test]
async fn large_bodies_are_compressed_beside_the_doors() {
    for encoding in BOTH {
        let bytes = vec![7; INLINE_BYTE_SIZE + 1];
        let body = Chunks::new([Bytes::from(bytes.clone()), Bytes::from_static(b"x")]);
        let places = Places::new(1);
        let sent = encoding.compress(body, Level::fast(), &places).await;
        let mut charge = charge(usize::MAX);
        let limits = Limits::default();
        let got = encoding.decompress(sent.unwrap(), &limits, &places, &mut charge);
        let got = got.await;
        let got = got.unwrap();
        assert_eq!(got, [&bytes[..], b"x"].concat());
    }
}

#[tokio::test]
async fn who_finds_no_place_waits_until_there_is_one() {
    let places = Arc::new(Places::new(2));
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let busy = |places: &Arc<Places>| {
        let (places, held) = (Arc::clone(places), Arc::clone(&held));
        let wait = move || {
            drop(held.lock().map(|held| held.recv()));
            Ok(())
        };
        tokio::spawn(async move { places.work(wait).await })
    };
    let first = busy(&places);
    // One place of two is taken.
    assert_eq!(places.work(|| Ok(7)).await.unwrap(), 7);
    let second = busy(&places);
    while places.0.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let mut third = std::pin::pin!(places.work(|| Ok(8)));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(third.as_mut().poll(&mut context).is_pending());
    // Who goes away does not make room: the work is still being done.
    second.abort();
    assert!(third.as_mut().poll(&mut context).is_pending());
    drop(hold);
    assert_eq!(third.await.unwrap(), 8);
    first.await.unwrap().unwrap();
}

proptest! {
    #[test]
    fn what_was_compressed_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..100_000)) {
        for encoding in BOTH {
            let body = compressed(encoding, &bytes);
            prop_assert_eq!(&inflate(encoding, &body, &Limits::default()).unwrap(), &bytes);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        for encoding in BOTH {
            drop(inflate(encoding, &bytes, &Limits::default()));
            let mut begun = compressed(encoding, b"begun");
            begun.truncate(12);
            begun.extend_from_slice(&bytes);
            drop(inflate(encoding, &begun, &Limits::default()));
        }
    }
}
