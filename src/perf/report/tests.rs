use std::collections::BTreeMap;

use super::{
    super::{
        Client, Latency, Level, LevelLoad, LevelTotals, Moment, Server, ServerSide, SloResult,
    },
    *,
};

fn level(concurrency: usize) -> Level {
    let scale = concurrency as f64;
    Level {
        load: LevelLoad::Concurrency { value: concurrency },
        stable: true,
        window_count: 3,
        seconds: 3.0,
        requests_per_second: 1000.0 * scale,
        inferences_per_second: 2000.0 * scale,
        latency: Latency {
            mean: 120.0 * scale,
            p50: 100.0 * scale,
            p90: 200.0 * scale,
            p95: 250.0 * scale,
            p99: 400.0 * scale,
            p999: 900.0 * scale,
            max: 1000.0 * scale,
            chosen: None,
        },
        send_lag_p99_us: 0.0,
        request_count: 3000,
        failure_count: 0,
        client_cpu_us: Some(7.5),
        server_cpu_us: None,
        server: Some(ServerSide {
            total_us: 80.0,
            queue_us: 10.0,
            compute_infer_us: 60.0,
            ..ServerSide::default()
        }),
        totals: LevelTotals::default(),
        models: Vec::new(),
        distribution: (1..500)
            .map(|i| (f64::from(i), f64::from(i) / 499.0))
            .collect(),
        series: (1..40)
            .map(|i| Moment {
                seconds: f64::from(i) * 0.1,
                requests_per_second: 1000.0,
                p50_us: (i % 5 != 0).then_some(100.0),
                p99_us: Some(400.0),
                failure_count: 0,
                measured: i > 9,
            })
            .collect(),
    }
}

fn report(levels: Vec<Level>) -> Report {
    Report {
        server: Server {
            name: "triton".to_owned(),
            version: "2.51".to_owned(),
            url: "localhost:8000".to_owned(),
            protocol: "HTTP".to_owned(),
        },
        client: Client {
            version: "1".to_owned(),
            threads: 1,
            processor: "a processor".to_owned(),
            processor_count: 2,
            unix_time: 0,
        },
        models: vec!["<m>".to_owned()],
        batch_size: 2,
        levels,
        slo: None,
        is_interrupted: false,
    }
}

/// Elements that are opened and not closed, or the other way round.
fn unbalanced(html: &str) -> Vec<String> {
    let mut open: Vec<&str> = Vec::new();
    for part in html.split('<').skip(1) {
        let tag = part.split('>').next().unwrap_or_default();
        let name = tag.split([' ', '\n', '/']).next().unwrap_or_default();
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return vec![format!("</{name}> closes {open:?}")];
            }
        } else if !tag.ends_with('/') && !matches!(name, "!doctype" | "meta") {
            open.push(name);
        }
    }
    open.into_iter().map(str::to_owned).collect()
}

#[test]
fn the_page_is_whole_and_needs_nothing_else() {
    let mut report = report(vec![level(1), level(8), level(64)]);
    report.slo = Some(SloResult {
        latency_ms: 5.0,
        percentile: 99.0,
        request_rate: Some(1234.0),
    });
    let page = html(&report);
    assert_eq!(unbalanced(&page), Vec::<String>::new());
    assert_eq!(page.matches("<svg").count(), 5);
    assert_eq!(page.matches("role=\"img\" aria-label").count(), 5);
    assert!(page.contains("&lt;m&gt;") && !page.contains("<m>"));
    assert!(!page.contains("NaN") && !page.contains("inf\""));
    for outside in ["http:", "https:", "src=", "url(", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("128k"), "the best throughput");
}

#[test]
fn a_page_of_one_level_or_of_failures_is_whole_too() {
    let mut bad = level(1);
    bad.stable = false;
    bad.server = None;
    bad.series.clear();
    bad.distribution.clear();
    bad.totals.failures = BTreeMap::from([("<why>".to_owned(), 3)]);
    let page = html(&report(vec![bad]));
    assert_eq!(unbalanced(&page), Vec::<String>::new());
    assert!(page.contains("3 failed: &lt;why&gt;") && page.contains("did not come to rest"));
    assert_eq!(unbalanced(&html(&report(Vec::new()))), Vec::<String>::new());
}

#[test]
fn the_table_has_a_row_for_each_level_and_says_what_went_wrong() {
    let mut bad = level(8);
    bad.stable = false;
    bad.totals.failures = BTreeMap::from([("HTTP 503: busy".to_owned(), 3)]);
    let text = table(&report(vec![level(1), bad]));
    let rows: Vec<&str> = text.lines().filter(|line| line.contains("000.0")).collect();
    assert_eq!(rows.len(), 2, "{text}");
    assert!(rows[1].ends_with("unstable"), "{text}");
    assert!(text.contains("3 failed: HTTP 503: busy"), "{text}");
}

#[test]
fn each_line_of_the_csv_has_every_column() {
    let text = csv(&report(vec![level(1), level(2)]));
    let counts: Vec<usize> = text.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(counts, [19, 19, 19]);
    assert!(
        text.starts_with("Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,")
    );
    assert!(text.contains("\n2,4000.0,0.0,160.0,10.0,"), "{text}");
}
