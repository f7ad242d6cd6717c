use super::*;

#[test]
fn intervals_are_from_ten_milliseconds_to_an_hour() {
    let interval = |interval_seconds| {
        let config = Config {
            interval_seconds,
            ..Config::default()
        };
        config.interval()
    };
    assert_eq!(interval(0.01), Ok(Duration::from_millis(10)));
    assert_eq!(interval(3600.0), Ok(HOUR));
    for wrong in [0.009, 3600.1, 0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = interval(wrong).unwrap_err();
        assert!(error.contains("from 0.01 to 3600"), "{error}");
    }
}

#[test]
fn labels_are_told_apart() {
    let labels: Vec<_> = ThrottleReason::ALL.iter().map(|one| one.label()).collect();
    let mut distinct = labels.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), labels.len());
}
