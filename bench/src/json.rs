//! Lines of JSON, one for each row of the report.

use std::{fs, path::Path};

use serde_json::{Value, json};
use wfe_bench_workloads::Done;

use crate::report::Row;

pub fn write(path: &Path, rows: &[Row]) -> Done {
    let lines: Vec<String> = rows.iter().map(|row| line(row).to_string() + "\n").collect();
    Ok(fs::write(path, lines.concat())?)
}

/// The medians of a row. `errors` is the number of all rounds together.
fn line(row: &Row) -> Value {
    let of = &row.median;
    json!({
        "workload": row.workload, "subject": row.subject, "clients": row.clients,
        "ops_per_s": of.ops_per_s, "p50_us": of.p50_us, "p99_us": of.p99_us, "max_us": of.max_us,
        "written_bytes_per_op": of.written_bytes_per_op, "cpu_us_per_op": of.cpu_us_per_op,
        "errors": of.errors, "rounds": row.rounds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::row;

    #[test]
    fn a_line_has_exactly_these_fields() {
        let line = line(&row("load/1000/cold", "published", 16, 250.0));
        let mut fields: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(
            fields,
            [
                "clients",
                "cpu_us_per_op",
                "errors",
                "max_us",
                "ops_per_s",
                "p50_us",
                "p99_us",
                "rounds",
                "subject",
                "workload",
                "written_bytes_per_op"
            ]
        );
        assert!(line["clients"].is_u64() && line["rounds"].is_u64() && line["errors"].is_u64());
        assert_eq!(
            (&line["workload"], &line["written_bytes_per_op"]),
            (&"load/1000/cold".into(), &Value::Null)
        );
    }
}
