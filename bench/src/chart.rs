//! Charts: one file for each workload, one picture for each of its variants.

use std::{collections::BTreeSet, fs, ops::Range, path::Path};

use plotters::{coord::Shift, prelude::*};
use wfe_bench_workloads::Done;

use crate::{
    report::Row,
    table::{Subject, WORKLOADS},
};

const WIDTH: u32 = 460;
const HEIGHT: u32 = 320;
const COLUMNS: usize = 3;
/// One colour for each subject, in the order of [`Subject::ALL`]. They differ also for people who see fewer colours.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(120, 120, 120),
    RGBColor(190, 190, 190),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
];

/// Draws all rows into files of this folder, which is created if it is missing.
pub fn draw(folder: &Path, rows: &[Row]) -> Done {
    fs::create_dir_all(folder)?;
    let mut names: Vec<&str> = WORKLOADS.iter().map(|spec| spec.name).collect();
    names.dedup();
    for name in names {
        let own: Vec<&Row> = rows.iter().filter(|row| row.workload.split('/').next() == Some(name)).collect();
        if !own.is_empty() {
            fs::write(folder.join(format!("{name}.svg")), picture(&own)?)?;
        }
    }
    Ok(())
}

/// The text of the SVG file for the rows of one workload.
fn picture(rows: &[&Row]) -> Done<String> {
    let mut variants: Vec<&str> = rows.iter().map(|row| row.workload.as_str()).collect();
    variants.dedup();
    let columns = variants.len().min(COLUMNS);
    let lines = variants.len().div_ceil(columns);
    let size = (WIDTH * u32::try_from(columns)?, HEIGHT * u32::try_from(lines)?);
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE)?;
        for (variant, area) in variants.iter().zip(area.split_evenly((lines, columns))) {
            let own: Vec<&Row> = rows.iter().copied().filter(|row| row.workload == *variant).collect();
            panel(&area, variant, &own)?;
        }
        area.present()?;
    }
    Ok(text)
}

/// Bars of one variant: for each number of clients, one bar for each subject.
fn panel(area: &DrawingArea<SVGBackend<'_>, Shift>, title: &str, rows: &[&Row]) -> Done {
    let has_times = rows.iter().any(|row| row.has_times);
    let value = |row: &Row| if has_times { row.median.p50_us } else { row.median.ops_per_s };
    let clients: Vec<usize> =
        rows.iter().map(|row| row.clients).collect::<BTreeSet<_>>().into_iter().collect();
    let mut subjects: Vec<&str> = Vec::new();
    for row in rows {
        if !subjects.contains(&row.subject.as_str()) {
            subjects.push(&row.subject);
        }
    }
    let unit = if has_times { "median, µs" } else { "operations/s" };
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{title} ({unit})"), ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(34)
        .y_label_area_size(62)
        .build_cartesian_2d(
            (0..clients.len()).into_segmented(),
            bounds(rows.iter().map(|row| value(row))).log_scale(),
        )?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_desc("clients")
        .x_labels(clients.len() + 1)
        .x_label_formatter(&|at| match at {
            SegmentValue::CenterOf(at) => clients.get(*at).map_or_else(String::new, ToString::to_string),
            _ => String::new(),
        })
        .y_label_formatter(&|value| format!("{value}"))
        .draw()?;
    let floor = bounds(rows.iter().map(|row| value(row))).start;
    for (number, subject) in subjects.iter().enumerate() {
        let colour = colour(subject, number);
        let bars = rows.iter().filter(|row| row.subject == *subject).filter_map(|row| {
            let at = clients.iter().position(|clients| *clients == row.clients)?;
            let mut bar = Rectangle::new(
                [(SegmentValue::Exact(at), floor), (SegmentValue::Exact(at + 1), value(row))],
                colour.filled(),
            );
            let slot = WIDTH.saturating_sub(90) / u32::try_from(clients.len()).ok()?;
            let width = slot * 4 / 5 / u32::try_from(subjects.len()).ok()?;
            let left = slot / 10 + width * u32::try_from(number).ok()?;
            bar.set_margin(0, 0, left, slot.saturating_sub(left + width));
            Some(bar)
        });
        chart
            .draw_series(bars)?
            .label(*subject)
            .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 10, y + 4)], colour.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}

/// Whole decades around these values.
fn bounds(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, most) =
        values.fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(value), most.max(value)));
    let decade = |value: f64| value.max(1e-3).log10();
    let (low, high) = (decade(least).floor(), decade(most).ceil());
    10_f64.powf(if low < high { low } else { low - 1.0 })..10_f64.powf(high)
}

fn colour(subject: &str, number: usize) -> RGBColor {
    let at = Subject::ALL.iter().position(|known| known.name() == subject);
    COLOURS[at.unwrap_or(number) % COLOURS.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::row;

    #[test]
    fn a_chart_names_variants_subjects_and_clients() {
        let rows = [
            row("persist/10", "wfe", 1, 4000.0),
            row("persist/10", "published", 1, 2000.0),
            row("persist/10", "wfe", 64, 20_000.0),
            row("persist/100", "wfe", 1, 3900.0),
        ];
        let text = picture(&rows.iter().collect::<Vec<_>>()).unwrap();
        for part in ["<svg", "persist/10 (operations/s)", "persist/100", "published", "wfe", "64", "</svg>"] {
            assert!(text.contains(part), "{part}");
        }
    }

    #[test]
    fn the_scale_has_whole_decades() {
        assert_eq!(bounds([250.0, 31_000.0].into_iter()), 100.0..100_000.0);
        assert_eq!(bounds([100.0].into_iter()), 10.0..100.0);
    }
}
