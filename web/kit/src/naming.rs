//! The name and the slug of something new: the same two fields in several forms.

use domain::{DisplayName, Slug};
use ui::field::FormErrors;

/// Reads both, or says at its field what is wrong with the first of them.
pub fn read(errors: FormErrors, name: &str, slug: &str) -> Option<(DisplayName, Slug)> {
    let fail = |field: &str, text: String| errors.set(vec![(field.to_owned(), text)], None);
    let name = DisplayName::parse(name).map_err(|error| fail("name", format!("A name {error}."))).ok()?;
    let slug = Slug::parse(slug).map_err(|error| fail("slug", format!("A slug: {error}."))).ok()?;
    Some((name, slug))
}
