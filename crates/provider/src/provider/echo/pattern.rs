//! Makes a text that matches a regular expression, for `pattern` in schemas.
//!
//! The subset that schemas use: literals, classes, `.`, `\d \w \s`, groups, alternatives, quantifiers, anchors. Lookaround and
//! back references are errors. Invariant: a text that is returned matches; its length is bounded by `MAX_LENGTH`.

use std::iter::Peekable;
use std::str::Chars;

const MAX_LENGTH: usize = 4_096;
const MAX_DEPTH: usize = 32;

/// Makes the shortest text of the first alternative.
pub(super) fn sample(source: &str) -> Result<String, String> {
    let unsupported = || format!("echo cannot make a text for the pattern {source:?}");
    let mut reader = Reader { letters: source.chars().peekable(), depth: 0 };
    let text = reader.alternatives().ok_or_else(unsupported)?;
    if reader.letters.next().is_some() || text.len() > MAX_LENGTH { Err(unsupported()) } else { Ok(text) }
}

struct Reader<'a> {
    letters: Peekable<Chars<'a>>,
    depth: usize,
}

impl Reader<'_> {
    /// Reads `a|b|c` up to a closing parenthesis or the end; the first alternative is taken.
    fn alternatives(&mut self) -> Option<String> {
        let first = self.sequence()?;
        while self.letters.next_if_eq(&'|').is_some() {
            self.sequence()?;
        }
        Some(first)
    }

    fn sequence(&mut self) -> Option<String> {
        let mut text = String::new();
        while let Some(&letter) = self.letters.peek() {
            if matches!(letter, '|' | ')') {
                break;
            }
            self.letters.next();
            let atom = self.atom(letter)?;
            for _ in 0..self.quantifier()? {
                text.push_str(&atom);
                if text.len() > MAX_LENGTH {
                    return None;
                }
            }
        }
        Some(text)
    }

    fn atom(&mut self, letter: char) -> Option<String> {
        match letter {
            '^' | '$' => Some(String::new()),
            '\\' if self.letters.next_if(|kind| matches!(kind, 'b' | 'A' | 'z' | 'Z')).is_some() => Some(String::new()),
            '.' => Some("a".to_owned()),
            '[' => self.class().map(String::from),
            '(' => self.group(),
            '\\' => self.escape().map(String::from),
            '*' | '+' | '?' | '{' => None,
            other => Some(other.to_string()),
        }
    }

    fn group(&mut self) -> Option<String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        if self.letters.next_if_eq(&'?').is_some() {
            match self.letters.next()? {
                ':' => {}
                'P' => {
                    self.letters.next_if_eq(&'<')?;
                    self.name()?;
                }
                '<' => {
                    self.name()?;
                }
                _ => return None,
            }
        }
        let text = self.alternatives()?;
        self.letters.next_if_eq(&')')?;
        self.depth -= 1;
        Some(text)
    }

    /// Reads a group's name; a lookbehind (`?<=`) has none.
    fn name(&mut self) -> Option<()> {
        let mut length = 0;
        loop {
            match self.letters.next()? {
                '>' if length > 0 => return Some(()),
                letter if letter.is_alphanumeric() || letter == '_' => length += 1,
                _ => return None,
            }
        }
    }

    /// Reads an escape that stands for a letter.
    fn escape(&mut self) -> Option<char> {
        Some(match self.letters.next()? {
            'd' => '0',
            'w' | 'D' | 'S' => 'a',
            's' | 'W' => ' ',
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            letter if letter.is_ascii_alphanumeric() => return None,
            other => other,
        })
    }

    /// Reads a class after its bracket and picks a letter in it.
    fn class(&mut self) -> Option<char> {
        let is_negated = self.letters.next_if_eq(&'^').is_some();
        let mut ranges: Vec<(char, char)> = Vec::new();
        loop {
            let low = match self.letters.next()? {
                ']' if !ranges.is_empty() => break,
                '\\' => match *self.letters.peek()? {
                    kind @ ('d' | 'w' | 's') => {
                        self.letters.next();
                        ranges.extend_from_slice(match kind {
                            'd' => &[('0', '9')],
                            'w' => &[('a', 'z'), ('A', 'Z'), ('0', '9'), ('_', '_')],
                            _ => &[(' ', ' '), ('\t', '\r')],
                        });
                        continue;
                    }
                    'D' | 'W' | 'S' => return None,
                    _ => self.escape()?,
                },
                letter => letter,
            };
            let mut high = low;
            if self.letters.next_if_eq(&'-').is_some() {
                match self.letters.peek()? {
                    ']' => ranges.push(('-', '-')),
                    _ => {
                        high = match self.letters.next()? {
                            '\\' => self.escape()?,
                            letter => letter,
                        }
                    }
                }
            }
            if high < low {
                return None;
            }
            ranges.push((low, high));
        }
        if !is_negated {
            return ranges.first().map(|(low, _)| *low);
        }
        let is_in = |letter: &char| ranges.iter().any(|(low, high)| (*low..=*high).contains(letter));
        ('a'..='z').chain('0'..='9').chain(' '..='~').find(|letter| !is_in(letter))
    }

    /// Reads a quantifier and gives the least number of repetitions, one for `*` so that something is said.
    fn quantifier(&mut self) -> Option<usize> {
        let least = match self.letters.peek() {
            Some('*' | '+') => 1,
            Some('?') => 0,
            Some('{') => {
                self.letters.next();
                return self.braces();
            }
            _ => return Some(1),
        };
        self.letters.next();
        self.skip_lazy();
        Some(least)
    }

    fn braces(&mut self) -> Option<usize> {
        let mut digits = String::new();
        loop {
            match self.letters.next()? {
                '}' => break,
                letter => digits.push(letter),
            }
        }
        self.skip_lazy();
        let least = digits.split(',').next()?;
        if least.is_empty() { Some(0) } else { least.parse().ok().filter(|least| *least <= MAX_LENGTH) }
    }

    fn skip_lazy(&mut self) {
        self.letters.next_if(|letter| matches!(letter, '?' | '+'));
    }
}

#[cfg(test)]
mod tests {
    use super::sample;

    #[test]
    fn common_patterns_have_a_text() {
        let check = |source: &str, expected: &str| assert_eq!(sample(source).as_deref(), Ok(expected), "{source}");
        check("^[a-z0-9_-]+$", "a");
        check(r"^\d{4}-\d{2}-\d{2}$", "0000-00-00");
        check("^(low|high)$", "low");
        check(r"^https?://[^\s/]+(/.*)?$", "http://a");
        check(r"^\+?[1-9]\d{1,14}$", "10");
        check("^(?:ab){2,3}$", "abab");
        check(r"^(?<year>\d{4})\.x$", "0000.x");
        check("^[]a]$", "]");
        check("", "");
    }

    #[test]
    fn what_cannot_be_made_is_an_error() {
        for source in ["(?=a)b", "(?<!a)b", r"(a)\1", "a{999999}", "(", "[", "[z-a]", "*a", r"\p{L}"] {
            assert!(sample(source).is_err(), "{source}");
        }
    }
}
