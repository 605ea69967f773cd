//! Numbers that a request asks of the model and that only an observer reads: nothing is kept for them while a body is scanned.

use super::reader::{Reader, Section, Tally};
use super::{Key, Scan};

impl Scan {
    /// Returns a number among the body's own fields, or among Gemini's parameters under the other name; the body must be the one that
    /// was read. `None` when there is none; whatever else stands there is the upstream's to refuse.
    #[must_use]
    pub fn number(&self, name: &str, parameter: &str, body: &[u8]) -> Option<f64> {
        if let Some(reader) = self.reader_at(name, body) {
            return value(reader);
        }
        let mut reader = self.reader_at("generationConfig", body).filter(|reader| reader.peek() == Some(b'{'))?;
        reader.enter().ok()?;
        let mut found = None;
        reader
            .fields(|reader, key| {
                let span = reader.value(&mut Tally::default(), Section::Other)?;
                if key == parameter {
                    found = parse(span.of(body));
                }
                Ok(())
            })
            .ok()?;
        found
    }

    /// Goes to the value of a field that is written without escapes.
    fn reader_at<'a>(&self, name: &str, body: &'a [u8]) -> Option<Reader<'a>> {
        let plain = |key: &Key| match key {
            Key::Plain(span) if span.of(body) == name.as_bytes() => Some(*span),
            _ => None,
        };
        let key = self.keys.iter().find_map(plain)?;
        let mut reader = Reader::new(body);
        // Behind the quote that ends the key.
        reader.at = key.range().end + 1;
        reader.colon().ok()?;
        Some(reader)
    }
}

fn value(mut reader: Reader<'_>) -> Option<f64> {
    let body = reader.body;
    reader.value(&mut Tally::default(), Section::Other).ok().and_then(|span| parse(span.of(body)))
}

fn parse(token: &[u8]) -> Option<f64> {
    std::str::from_utf8(token).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::scan;

    #[test]
    fn numbers_are_read_where_the_request_has_them() {
        for (body, expected) in [
            (r#"{"model":"m","temperature" : 0.25 ,"top_p":1}"#, (Some(0.25), Some(1.0))),
            (r#"{"generationConfig":{"stopSequences":["}"],"topP":0.5,"temperature":2e-1}}"#, (Some(0.2), Some(0.5))),
            (r#"{"temperature":"hot","top_p":null,"metadata":{"temperature":1}}"#, (None, None)),
            (r#"{"temperature":[1],"generationConfig":null}"#, (None, None)),
            ("{}", (None, None)),
        ] {
            let found = scan(body.as_bytes()).expect("an object");
            let number = |name, parameter| found.number(name, parameter, body.as_bytes());
            assert_eq!((number("temperature", "temperature"), number("top_p", "topP")), expected, "{body}");
        }
    }
}
