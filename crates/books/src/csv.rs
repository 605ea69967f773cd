//! Reads comma-separated values (RFC 4180), one record at a time, with the line that each begins on.
//!
//! Lenient where exports differ (a byte order mark, bare line feeds, empty lines), strict where meaning would be guessed: a quote
//! that does not close, text behind a closing quote. Invariant: memory is bounded by one record.

/// Longest record, in bytes.
const MAX_RECORD: usize = 256 * 1_024;

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct CsvError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong.
    pub what: &'static str,
}

/// A record and the line that it begins on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The line, from 1.
    pub line: u64,
    /// The fields.
    pub fields: Vec<String>,
}

/// Reads records from a text.
#[derive(Debug)]
pub struct Records<'a> {
    rest: &'a str,
    line: u64,
}

impl<'a> Records<'a> {
    /// Reads a text from its beginning.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 }
    }

    fn record(&mut self) -> Result<Record, CsvError> {
        let (start, begin) = (self.line, self.rest.len());
        let mut fields = Vec::new();
        loop {
            let (field, is_last) = self.field()?;
            fields.push(field);
            if begin - self.rest.len() > MAX_RECORD {
                return Err(CsvError { line: start, what: "a record is longer than 256 KiB" });
            }
            if is_last {
                return Ok(Record { line: start, fields });
            }
        }
    }

    /// Reads a field and what ends it; says whether it was the last of its record.
    fn field(&mut self) -> Result<(String, bool), CsvError> {
        let Some(mut inside) = self.rest.strip_prefix('"') else {
            let end = self.rest.find([',', '\n', '\r']).unwrap_or(self.rest.len());
            let (field, rest) = self.rest.split_at(end);
            self.rest = rest;
            return Ok((field.to_owned(), self.ending()?));
        };
        let (start, mut field) = (self.line, String::new());
        loop {
            let Some(end) = inside.find('"').filter(|_| field.len() <= MAX_RECORD) else {
                return Err(CsvError { line: start, what: "a quote does not close" });
            };
            let (part, rest) = inside.split_at(end);
            self.line += part.bytes().filter(|byte| *byte == b'\n').count() as u64;
            field.push_str(part);
            if let Some(rest) = rest.strip_prefix("\"\"") {
                field.push('"');
                inside = rest;
            } else {
                self.rest = rest.get(1..).unwrap_or("");
                return Ok((field, self.ending()?));
            }
        }
    }

    fn ending(&mut self) -> Result<bool, CsvError> {
        if let Some(rest) = self.rest.strip_prefix(',') {
            self.rest = rest;
            return Ok(false);
        }
        let line = ["\r\n", "\n", "\r"].iter().find_map(|end| self.rest.strip_prefix(end));
        if let Some(rest) = line {
            self.rest = rest;
            self.line += 1;
        } else if !self.rest.is_empty() {
            return Err(CsvError { line: self.line, what: "text stands behind a closing quote" });
        }
        Ok(true)
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, CsvError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(rest) = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix('\n')) {
            self.rest = rest;
            self.line += 1;
        }
        if self.rest.is_empty() {
            return None;
        }
        let record = self.record();
        if record.is_err() {
            self.rest = "";
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &str) -> Vec<(u64, Vec<String>)> {
        Records::new(text).map(|record| record.map(|it| (it.line, it.fields)).expect("a record")).collect()
    }

    fn fields(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn records_are_read_with_the_line_they_begin_on() {
        let text = "\u{feff}a,b\r\n\"x \"\"y\"\"\nz\",\n\n,2";
        assert_eq!(all(text), [(1, fields(&["a", "b"])), (2, fields(&["x \"y\"\nz", ""])), (5, fields(&["", "2"]))]);
        assert!(all("").is_empty() && all("\n\r\n").is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line_and_ends_the_reading() {
        let bad = |text| Records::new(text).filter_map(Result::err).collect::<Vec<_>>();
        assert_eq!(bad("a\n\"b\n"), [CsvError { line: 2, what: "a quote does not close" }]);
        assert_eq!(bad("a\n\"b\"c\nd"), [CsvError { line: 2, what: "text stands behind a closing quote" }]);
        let long = "x".repeat(MAX_RECORD + 2);
        assert_eq!(bad(&long), [CsvError { line: 1, what: "a record is longer than 256 KiB" }]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(rows in proptest::collection::vec(proptest::collection::vec("[a,\"\n\r ]{0,6}", 2..5), 0..6)) {
            let mut text = String::new();
            for row in &rows {
                let quoted: Vec<String> = row.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
                text.push_str(&quoted.join(","));
                text.push_str("\r\n");
            }
            let back: Vec<Vec<String>> = Records::new(&text).map(|it| it.expect("a record").fields).collect();
            prop_assert_eq!(back, rows);
        }

        #[test]
        fn no_text_makes_it_panic_or_run_on(text in "[a,\"\n\r]{0,40}") {
            prop_assert!(Records::new(&text).count() <= text.len());
        }
    }
}
