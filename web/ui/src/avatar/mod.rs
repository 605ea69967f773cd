//! The initials of a person or a thing, in a frame.

use leptos::prelude::*;

/// Takes at most two initials: of the first and the last word, or of an address before its at sign.
pub fn initials(name: &str) -> String {
    let name = name.split('@').next().unwrap_or(name);
    let mut words = name.split([' ', '.', '-', '_']).filter_map(|word| word.chars().next());
    let first = words.next();
    let last = words.next_back();
    first.into_iter().chain(last).flat_map(char::to_uppercase).collect()
}

/// Draws the initials; decorative, since the name stands beside it.
#[component]
pub fn Avatar(#[prop(into)] name: String) -> impl IntoView {
    view! { <span class="avatar" aria-hidden="true">{initials(&name)}</span> }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_letters_at_most() {
        assert_eq!(
            ["Ada Lovelace", "admin@localhost", "mary-jane.watson@x.io", "ops", ""].map(initials),
            ["AL", "A", "MW", "O", ""]
        );
    }
}
