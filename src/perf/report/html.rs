//! The report for a browser: one file that needs nothing else.

use super::{
    super::{Level, LevelLoad, Report},
    bars,
    chart::{escape, push},
    curves, micro,
    scale::{amount, duration},
};

const STYLE: &str = include_str!("page.css");

/// The results as a page.
pub fn html(report: &Report) -> String {
    let models = escape(&report.models.join(", "));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{models} under load</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    push_header(&mut page, report, &models);
    push_warnings(&mut page, report);
    if let Some(best) = best(&report.levels) {
        push_figures(&mut page, report, best);
        push_charts(&mut page, report, best);
    }
    push_table(&mut page, report);
    push_models(&mut page, report);
    page.push_str(FOOTER);
    page
}

const FOOTER: &str = "<footer>\n\
    <p>Latency is counted from when a request should have been sent until its answer was there \
    completely; in an open loop that does not depend on the answers before it. Percentiles are at \
    most 1/128 too high. Throughput counts requests that were answered well.</p>\n\
    <p>Processor time is that of all threads of the generator, and of the server's processes where \
    they are on the same machine. The parts of a request's time are means that the server counted \
    over the whole level, warm-up and all.</p>\n</footer>\n</main>\n</body>\n</html>\n";

/// The level with the highest throughput among those that came to rest without failures; among all,
/// if there is none such.
fn best(levels: &[Level]) -> Option<&Level> {
    let rate = |level: &&Level| level.inferences_per_second;
    let highest = |levels: &mut dyn Iterator<Item = &'_ Level>| -> Option<usize> {
        let mut best: Option<(usize, f64)> = None;
        for (index, level) in levels.enumerate() {
            let rate = rate(&level);
            if best.is_none_or(|(_, most)| rate > most) {
                best = Some((index, rate));
            }
        }
        best.map(|(index, _)| index)
    };
    let sound: Vec<&Level> = levels
        .iter()
        .filter(|level| level.stable && level.failure_count == 0)
        .collect();
    match highest(&mut sound.iter().copied()) {
        Some(index) => sound.get(index).copied(),
        None => highest(&mut levels.iter()).and_then(|index| levels.get(index)),
    }
}

fn push_header(page: &mut String, report: &Report, models: &str) {
    let (server, client) = (&report.server, &report.client);
    push(
        page,
        format_args!(
            "<header>\n<h1>{models} under load</h1>\n<p>{} {} at {} over {}, batch size {}. Measured \
             {} UTC from {}, {} processors, {} generator thread(s), despina {}.</p>\n</header>",
            escape(&server.name),
            escape(&server.version),
            escape(&server.url),
            escape(&server.protocol),
            report.batch_size,
            date(client.unix_time),
            escape(&client.processor),
            client.processor_count,
            client.threads,
            client.version,
        ),
    );
}

/// What keeps the numbers from being what they seem.
fn push_warnings(page: &mut String, report: &Report) {
    let mut warnings = Vec::new();
    if report.is_interrupted {
        warnings.push("The run was ended before its time.".to_owned());
    }
    for level in &report.levels {
        let name = format!("{} {}", level.load.name(), level.load.label());
        if !level.stable {
            warnings.push(format!("{name} did not come to rest."));
        }
        for (reason, count) in &level.totals.failures {
            warnings.push(format!("{name}: {count} failed: {}", escape(reason)));
        }
        if level.totals.different > 0 {
            warnings.push(format!(
                "{name}: {} of {} answers that were checked differ from the first to the same input.",
                level.totals.different, level.totals.verified
            ));
        }
    }
    if !warnings.is_empty() {
        let items: String = warnings
            .iter()
            .map(|text| format!("<li>{text}</li>"))
            .collect();
        push(
            page,
            format_args!("<div class=\"warn\" role=\"note\"><ul>{items}</ul></div>"),
        );
    }
}

fn push_figures(page: &mut String, report: &Report, best: &Level) {
    let load = format!("{} {}", best.load.name().to_lowercase(), best.load.label());
    let mut figures = vec![
        (
            "Throughput".to_owned(),
            amount(best.inferences_per_second),
            format!("inferences/s at {load}"),
        ),
        (
            "Median latency".to_owned(),
            duration(best.latency.p50),
            String::new(),
        ),
        (
            "99th percentile".to_owned(),
            duration(best.latency.p99),
            String::new(),
        ),
    ];
    if let Some(slo) = &report.slo {
        let target = format!(
            "{} % within {}",
            slo.percentile,
            duration(slo.latency_ms * 1e3)
        );
        let rate = slo.request_rate.map_or_else(|| "none".to_owned(), amount);
        figures.insert(
            0,
            (
                format!("Highest rate, {target}"),
                rate,
                "requests/s".to_owned(),
            ),
        );
    }
    let times = [
        ("Server CPU", best.server_cpu_us),
        ("Client CPU", best.client_cpu_us),
    ];
    for (name, time) in times {
        if let Some(time) = time {
            figures.push((name.to_owned(), duration(time), "a request".to_owned()));
        }
    }
    page.push_str("<dl class=\"figures\">\n");
    for (name, value, unit) in figures {
        push(
            page,
            format_args!(
                "<div class=\"figure\"><dt>{}</dt><dd>{value} <small>{unit}</small></dd></div>",
                escape(&name)
            ),
        );
    }
    page.push_str("</dl>\n");
}

fn push_charts(page: &mut String, report: &Report, best: &Level) {
    let load = format!("{} {}", best.load.name().to_lowercase(), best.load.label());
    let charts = [
        (
            "Latency and throughput",
            "Each point is a level of load.".to_owned(),
            curves::throughput(&report.levels),
        ),
        (
            "Distribution of latency",
            "Share of the requests that took no longer.".to_owned(),
            curves::distribution(&report.levels),
        ),
        (
            "Throughput in time",
            format!("At {load}; what the numbers are of is shaded."),
            curves::rates(best),
        ),
        (
            "Latency in time",
            format!("At {load}; what the numbers are of is shaded."),
            curves::latencies(best),
        ),
        (
            "Where the time goes",
            format!("Mean of a request, by {}.", best.load.name().to_lowercase()),
            bars::breakdown(&report.levels),
        ),
    ];
    page.push_str("<div class=\"charts\">\n");
    let last = charts.len() - 1;
    for (index, (title, caption, chart)) in charts.into_iter().enumerate() {
        // An odd one would leave a hole beside it.
        let class = if index == last { " class=\"wide\"" } else { "" };
        if let Some(chart) = chart {
            push(
                page,
                format_args!(
                    "<figure{class}>\n<h2>{title}</h2>\n<figcaption>{caption}</figcaption>\n{chart}</figure>"
                ),
            );
        }
    }
    page.push_str("</div>\n");
}

fn push_table(page: &mut String, report: &Report) {
    let load = report
        .levels
        .first()
        .map_or("Load", |level| level.load.name());
    let open = report
        .levels
        .iter()
        .any(|level| !matches!(level.load, LevelLoad::Concurrency { .. }));
    let late = if open {
        "<th scope=\"col\">Sent late, p99</th>"
    } else {
        ""
    };
    push(
        page,
        format_args!(
            "<section class=\"table\">\n<h2>All levels</h2>\n<p class=\"quiet\">Latency in µs, processor \
             time in µs a request.</p>\n<table>\n<thead><tr><th scope=\"col\">{load}</th>\
             <th scope=\"col\">Inferences/s</th><th scope=\"col\">Mean</th><th scope=\"col\">p50</th>\
             <th scope=\"col\">p90</th><th scope=\"col\">p95</th><th scope=\"col\">p99</th>\
             <th scope=\"col\">p99.9</th><th scope=\"col\">Max</th>{late}<th scope=\"col\">Requests</th>\
             <th scope=\"col\">Failed</th><th scope=\"col\">Server CPU</th>\
             <th scope=\"col\">Client CPU</th></tr></thead>\n<tbody>"
        ),
    );
    for level in &report.levels {
        page.push_str(&row(level, open));
    }
    page.push_str("</tbody>\n</table>\n</section>\n");
}

fn row(level: &Level, open: bool) -> String {
    let latency = &level.latency;
    let optional = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), micro);
    let mut cells = vec![format!("{:.1}", level.inferences_per_second)];
    let times = [
        latency.mean,
        latency.p50,
        latency.p90,
        latency.p95,
        latency.p99,
        latency.p999,
        latency.max,
    ];
    cells.extend(times.map(micro));
    cells.extend(open.then(|| micro(level.send_lag_p99_us)));
    cells.push(level.request_count.to_string());
    cells.push(level.failure_count.to_string());
    cells.push(optional(level.server_cpu_us));
    cells.push(optional(level.client_cpu_us));
    let cells: String = cells
        .iter()
        .map(|cell| format!("<td>{cell}</td>"))
        .collect();
    let load = escape(&level.load.label());
    format!("<tr><th scope=\"row\">{load}</th>{cells}</tr>\n")
}

/// A table of the models, if there are several.
fn push_models(page: &mut String, report: &Report) {
    if report.models.len() < 2 {
        return;
    }
    page.push_str(
        "<section class=\"table\">\n<h2>By model</h2>\n<table>\n<thead><tr><th scope=\"col\">Level</th>\
         <th scope=\"col\">Model</th><th scope=\"col\">Requests/s</th><th scope=\"col\">p50</th>\
         <th scope=\"col\">p99</th><th scope=\"col\">Failed</th></tr></thead>\n<tbody>",
    );
    for level in &report.levels {
        for model in &level.models {
            push(
                page,
                format_args!(
                    "<tr><th scope=\"row\">{}</th><td>{}</td><td>{:.1}</td><td>{}</td><td>{}</td>\
                     <td>{}</td></tr>",
                    escape(&level.load.label()),
                    escape(&model.name),
                    model.requests_per_second,
                    micro(model.latency.p50),
                    micro(model.latency.p99),
                    model.failure_count,
                ),
            );
        }
    }
    page.push_str("</tbody>\n</table>\n</section>\n");
}

/// Date and minute of a time in seconds since 1970, UTC.
fn date(unix_time: u64) -> String {
    let (days, seconds) = (unix_time / 86_400, unix_time % 86_400);
    // Years that begin in March have their leap day at the end.
    let since = days + 719_468;
    let (era, day) = (since / 146_097, since % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = era * 400 + year + next;
    let (hour, minute) = (seconds / 3600, seconds / 60 % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_the_calendars() {
        let cases = [
            (0, "1970-01-01 00:00"),
            (951_782_399, "2000-02-28 23:59"),
            (951_782_400, "2000-02-29 00:00"),
            (1_735_689_600, "2025-01-01 00:00"),
            (4_107_542_400, "2100-03-01 00:00"),
        ];
        for (time, due) in cases {
            assert_eq!(date(time), due);
        }
    }
}
