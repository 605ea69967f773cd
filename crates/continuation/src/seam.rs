//! Where a second answer meets what was said: what it says twice is left out, if it is certain that it was said.
//!
//! A model that goes on from a message of its own may repeat the blanks that had to be cut off the message; one that was told to
//! go on may repeat the last words, or begin anew. The first words are held until they cannot be a repetition any more.

/// The shortest repetition that is no coincidence, in bytes.
const LEAST: usize = 12;
/// The shortest when it is all that was said.
const LEAST_WHOLE: usize = 4;

/// The seam of one answer.
#[derive(Debug)]
pub(crate) struct Seam {
    /// Blanks at the end of what was said, which the upstream was not told.
    blanks: Option<String>,
    held: String,
    is_closed: bool,
}

impl Seam {
    /// A seam after `said`; `is_prefilled` when the upstream goes on from a message of its own.
    pub(crate) fn new(said: &str, is_prefilled: bool) -> Self {
        let blanks = is_prefilled.then(|| said[said.trim_end().len()..].to_owned());
        // What begins with nothing repeats nothing.
        Self { blanks, held: String::new(), is_closed: said.is_empty() }
    }

    /// Takes more text and returns what is certain to be new; `said` is what the first answer said.
    pub(crate) fn push(&mut self, said: &str, text: &str) -> String {
        if self.is_closed {
            return text.to_owned();
        }
        self.held.push_str(text);
        let may_repeat = match &self.blanks {
            Some(blanks) => blanks.len() > self.held.len() && blanks.starts_with(&self.held),
            None => said.contains(&self.held),
        };
        if may_repeat { String::new() } else { self.close(said) }
    }

    /// Ends the seam and returns what was held and is new.
    pub(crate) fn close(&mut self, said: &str) -> String {
        if std::mem::replace(&mut self.is_closed, true) {
            return String::new();
        }
        let n_twice = match &self.blanks {
            Some(blanks) => blanks.bytes().zip(self.held.bytes()).take_while(|(left, right)| left == right).count(),
            None => repeated(said, &self.held),
        };
        // Both agree up to there, and one of them is cut at a character's end.
        let mut held = std::mem::take(&mut self.held);
        if held.is_char_boundary(n_twice) {
            held.drain(..n_twice);
        }
        held
    }
}

/// Returns how many bytes at the beginning of `new` repeat the end of `said`; 0 when more than one length would do.
fn repeated(said: &str, new: &str) -> usize {
    let longest = said.len().min(new.len());
    let is_certain = |n: &usize| *n >= LEAST || *n == said.len() && *n >= LEAST_WHOLE;
    let is_repeated = |n: &usize| said.as_bytes().ends_with(&new.as_bytes()[..*n]);
    let mut found = (1..=longest).rev().filter(is_certain).filter(is_repeated);
    match (found.next(), found.next()) {
        (Some(n), None) => n,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(said: &str, is_prefilled: bool, pieces: &[&str]) -> String {
        let mut seam = Seam::new(said, is_prefilled);
        let mut out = said.to_owned();
        for piece in pieces {
            out += &seam.push(said, piece);
        }
        out += &seam.close(said);
        out
    }

    #[test]
    fn repeated_words_are_left_out() {
        let said = "The quick brown fox jumps";
        for pieces in [
            &[" over the dog"][..],
            &["brown fox jumps over the dog"],
            &["bro", "wn fox ju", "mps", " over", " the dog"],
            &["The quick brown fox jumps over the dog"],
            &["The qui", "ck brown fox jumps over the dog"],
        ] {
            assert_eq!(joined(said, false, pieces), "The quick brown fox jumps over the dog", "{pieces:?}");
        }
        assert_eq!(joined("Hello", false, &["Hel", "lo there"]), "Hello there");
    }

    #[test]
    fn what_may_be_meant_is_kept() {
        assert_eq!(joined("very", false, &[" very", " good"]), "very very good");
        assert_eq!(joined("It rained", false, &["rained again"]), "It rainedrained again", "too short to be certain");
        let laughter = "ha ha ha ha ha ha ha ha ";
        assert_eq!(joined(laughter, false, &["ha ha ha ha ha ha!"]), format!("{laughter}ha ha ha ha ha ha!"));
        assert_eq!(joined("", false, &["Hello"]), "Hello");
    }

    #[test]
    fn blanks_that_were_cut_off_are_not_said_twice() {
        assert_eq!(joined("Hello ", true, &[" there"]), "Hello there");
        assert_eq!(joined("Hello ", true, &["there"]), "Hello there");
        assert_eq!(joined("Hello\n\n", true, &["\n", "\nthere"]), "Hello\n\nthere");
        assert_eq!(joined("Hello", true, &[" there"]), "Hello there");
        assert_eq!(joined("Hello there", true, &["Hello there"]), "Hello thereHello there", "as it went on");
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_text(said in "[ab é]{0,24}", new in "[ab é]{0,40}", at in 0usize..40, is_prefilled: bool) {
            let at = (0..=at.min(new.len())).rev().find(|at| new.is_char_boundary(*at)).unwrap_or(0);
            let (left, right) = new.split_at(at);
            prop_assert_eq!(joined(&said, is_prefilled, &[left, right]), joined(&said, is_prefilled, &[&new]));
        }
    }
}
