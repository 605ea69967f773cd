//! Comma-separated values for spreadsheets: RFC 4180 quoting, and no cell that a spreadsheet would run as a formula.

/// Joins a header and rows.
pub fn document(header: &[String], rows: &[Vec<String>]) -> String {
    let mut out = String::new();
    for line in std::iter::once(header).chain(rows.iter().map(Vec::as_slice)) {
        for (index, cell) in line.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            push_cell(&mut out, cell);
        }
        out.push_str("\r\n");
    }
    out
}

fn push_cell(out: &mut String, cell: &str) {
    // OWASP "CSV injection": a leading = + - @ makes spreadsheets evaluate the cell. Numbers keep their sign.
    let formula =
        cell.starts_with(['=', '+', '@', '\t', '\r']) || (cell.starts_with('-') && cell.parse::<f64>().is_err());
    if formula || cell.contains([',', '"', '\n', '\r']) {
        out.push('"');
        if formula {
            out.push('\'');
        }
        out.push_str(&cell.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_formulas_disarmed() {
        let header = ["name".to_owned(), "cost".to_owned()];
        let rows = [vec!["a \"b\", c".to_owned(), "-3.5".to_owned()], vec!["=1+1".to_owned(), "x".to_owned()]];
        assert_eq!(document(&header, &rows), "name,cost\r\n\"a \"\"b\"\", c\",-3.5\r\n\"'=1+1\",x\r\n");
    }
}
