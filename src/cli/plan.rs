//! `despina check --plan`: the plan as a table.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, Result};

use crate::{
    config::Config,
    device::Inventory,
    placement::{self, Footprint},
    server::{Outlook, Row, outlook},
};

/// Prints where each instance would run; loads nothing.
pub(super) fn run(config: &Config, devices: Option<&str>) -> Result<ExitCode> {
    let pretended = devices.map(pretended).transpose()?;
    let outlook = outlook(config, pretended.as_ref())?;
    print!("{}", report(&outlook));
    Ok(if outlook.fits() && !outlook.rows.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The devices that a text, or the file of that name, describes.
fn pretended(devices: &str) -> Result<Inventory> {
    let text = if Path::new(devices).is_file() {
        fs::read_to_string(devices).with_context(|| format!("--devices {devices}"))?
    } else {
        devices.to_owned()
    };
    placement::pretend(&text)
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("--devices {devices}"))
}

pub(super) fn report(outlook: &Outlook) -> String {
    let head = ["MODEL", "VERSION", "INSTANCE", "DEVICE", "BYTES", "WHY"];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(outlook.rows.iter().map(cells));
    let mut text = table(&lines);
    if !outlook.spaces.is_empty() {
        let mut lines = vec![["DEVICE", "TAKEN", "LIMIT"].map(str::to_owned)];
        lines.extend(outlook.spaces.iter().map(|space| {
            [
                format!("cuda:{}", space.ordinal),
                space.taken_byte_size.to_string(),
                space.limit_byte_size.to_string(),
            ]
        }));
        text.push('\n');
        text.push_str(&table(&lines));
    }
    text.push('\n');
    text.push_str(summary(outlook).as_str());
    text
}

fn cells(row: &Row) -> [String; 6] {
    let dash = || "-".to_owned();
    [
        row.model.clone(),
        row.version.map_or_else(dash, |version| version.to_string()),
        Some(row.instance.clone())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(dash),
        row.device
            .map_or_else(|| "none".to_owned(), |device| device.to_string()),
        row.footprint
            .map_or_else(dash, |footprint| match footprint {
                Footprint::Declared(byte_size) => byte_size.to_string(),
                Footprint::Estimated(byte_size) => format!("~{byte_size}"),
            }),
        row.why.clone(),
    ]
}

fn summary(outlook: &Outlook) -> String {
    let placed = outlook.rows.iter().filter(|row| row.device.is_some());
    let (placed, all) = (placed.count(), outlook.rows.len());
    let fit = match all {
        0 => "no models found".to_owned(),
        _ if placed == all => format!("all {all} instances fit"),
        _ => format!("{} of {all} do not fit", all - placed),
    };
    let estimated = outlook
        .rows
        .iter()
        .any(|row| matches!(row.footprint, Some(Footprint::Estimated(_))));
    let note = "~ is an estimate from the size of the model's files, for nothing was measured; the \
                engine's own memory comes on top. Say what an instance really takes with the \
                parameter footprint_byte_size.\n";
    format!("{fit}\n{}", if estimated { note } else { "" })
}

/// Columns as wide as what is in them; the last one is as it is.
pub(super) fn table<const COLUMNS: usize>(lines: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut text = String::new();
    for line in lines {
        for (column, cell) in line.iter().enumerate() {
            if column + 1 < COLUMNS {
                text.push_str(&format!("{cell:<0$}  ", width(column)));
            } else {
                text.push_str(cell);
            }
        }
        text.push('\n');
    }
    text
}
