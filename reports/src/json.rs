//! A run as one line of JSON, and back.

use crate::run::{FORMAT, RunReport};

/// Why a line is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not JSON, or says other things than a report.
    #[error("no report of a run: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It was written in another version.
    #[error("a report in format {0}, and only {FORMAT} is understood")]
    Format(u64),
}

/// The report as one line, without its end.
///
/// # Errors
/// When a number cannot be written: JSON knows no infinity.
pub fn line(report: &RunReport) -> Result<String, serde_json::Error> {
    serde_json::to_string(report)
}

/// The report that a line holds.
///
/// # Errors
/// When it holds none, or one of another format.
pub fn read(line: &str) -> Result<RunReport, ReadError> {
    let value: serde_json::Value = serde_json::from_str(line)?;
    // Asked first: another format has other fields, and to complain about those would mislead.
    if let Some(format) = value.get("format").and_then(serde_json::Value::as_u64)
        && format != u64::from(FORMAT)
    {
        return Err(ReadError::Format(format));
    }
    Ok(serde_json::from_value(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn report_is_one_line_that_reads_back() {
        let line = line(&example()).unwrap();
        assert_eq!(line.lines().count(), 1);
        assert_eq!(read(&line).unwrap(), example());
        insta::assert_snapshot!(line);
    }

    #[test]
    fn another_format_is_refused_by_its_number_whatever_else_it_says() {
        let error = read(r#"{"format":2,"colour":"blue"}"#).unwrap_err();
        assert!(matches!(error, ReadError::Format(2)), "{error}");
        assert!(matches!(read("{}").unwrap_err(), ReadError::Malformed(_)));
        assert!(matches!(
            read("green").unwrap_err(),
            ReadError::Malformed(_)
        ));
    }
}
