//! Which rows of a long list are in the document: those in view and some around them, so that ten thousand scroll like ten.
//!
//! The page scrolls, not the list. What is left out is stood in for by one gap above and one below, so nothing jumps. Invariant:
//! a list of at most [`ALL_BELOW`] rows is drawn whole, and the rows in view are always drawn.

use leptos::prelude::*;

use crate::browser;

/// Lists up to this long are drawn whole.
pub const ALL_BELOW: usize = 150;

/// Rows drawn beyond the edges of the view, so that a quick scroll meets rows and not a gap.
const MARGIN: usize = 30;

/// The window moves in steps of so many rows; in between, scrolling changes nothing in the document.
const STEP: usize = 10;

/// Height of a row until one has been measured.
const USUAL_HEIGHT: f64 = 40.0;

/// Rows from `first` up to but without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub first: usize,
    pub end: usize,
}

fn rows_in(pixels: f64, height: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
    let rows = (pixels / height).clamp(0.0, 1e7) as usize;
    rows
}

/// The rows in view: `above` pixels of the list lie over the upper edge of a view `view` pixels high.
fn in_view(count: usize, above: f64, view: f64, height: f64) -> Span {
    let first = rows_in(above, height).min(count);
    Span { first, end: (rows_in(above + view, height) + 1).clamp(first, count) }
}

/// The rows to draw for those in view.
fn drawn(count: usize, seen: Span) -> Span {
    if count <= ALL_BELOW {
        return Span { first: 0, end: count };
    }
    let first = seen.first.saturating_sub(MARGIN) / STEP * STEP;
    Span { first: first.min(count), end: ((seen.end + MARGIN).div_ceil(STEP) * STEP).min(count) }
}

/// The window on a list.
#[derive(Clone, Copy)]
pub struct Rows {
    count: Signal<usize>,
    drawn: Memo<Span>,
    seen: RwSignal<Span>,
    height: RwSignal<f64>,
}

impl Rows {
    /// The rows to draw.
    pub fn drawn(self) -> Span {
        self.drawn.get()
    }

    /// Says whether some rows are left out.
    pub fn is_windowed(self) -> bool {
        self.count.get() > ALL_BELOW
    }

    /// Pixels that stand in for the rows left out above and below.
    pub fn gaps(self) -> (f64, f64) {
        let (span, height) = (self.drawn.get(), self.height.get());
        let pixels = |rows: usize| height * f64::from(u32::try_from(rows).unwrap_or(u32::MAX));
        (pixels(span.first), pixels(self.count.get().saturating_sub(span.end)))
    }

    /// Says whether the end of the list is near the view.
    pub fn is_near_end(self) -> bool {
        self.seen.get().end + MARGIN >= self.count.get()
    }
}

/// Follows the page's scrolling for the list inside `element`, whose children are rows and gaps.
pub fn use_rows(element: impl Fn() -> Option<web_sys::Element> + Copy + 'static, count: Signal<usize>) -> Rows {
    let seen = RwSignal::new(Span::default());
    let height = RwSignal::new(USUAL_HEIGHT);
    let rows = Rows { count, seen, height, drawn: Memo::new(move |_| drawn(count.get(), seen.get())) };
    let look = move || {
        let Some(element) = element() else { return };
        let (Some(count), Some(span)) = (count.try_get_untracked(), rows.drawn.try_get_untracked()) else { return };
        let known = height.get_untracked();
        let size = element.get_bounding_client_rect();
        let n_drawn = f64::from(u32::try_from(span.end - span.first).unwrap_or(1));
        let left_out = f64::from(u32::try_from(count - (span.end - span.first).min(count)).unwrap_or(0)) * known;
        let measured = (size.height() - left_out) / n_drawn;
        // Measured once there is enough to measure; rows differ by a hair at most.
        if n_drawn > 4.0 && measured > 8.0 && (measured - known).abs() > 1.0 {
            height.set(measured);
        }
        let now = in_view(count, -size.top(), browser::view_height(), height.get_untracked());
        if seen.get_untracked() != now {
            seen.set(now);
        }
    };
    let on_scroll = window_event_listener(leptos::ev::scroll, move |_| look());
    let on_resize = window_event_listener(leptos::ev::resize, move |_| look());
    on_cleanup(move || {
        on_scroll.remove();
        on_resize.remove();
    });
    Effect::new(move |_| {
        count.track();
        rows.drawn.track();
        browser::at_next_frame(look);
    });
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_list_is_drawn_whole() {
        assert_eq!(drawn(ALL_BELOW, in_view(ALL_BELOW, 4_000.0, 900.0, 40.0)), Span { first: 0, end: ALL_BELOW });
    }

    #[test]
    fn a_long_list_is_drawn_around_the_view() {
        let seen = in_view(10_000, 40_000.0, 900.0, 40.0);
        assert_eq!(seen, Span { first: 1_000, end: 1_023 });
        assert_eq!(drawn(10_000, seen), Span { first: 970, end: 1_060 });
    }

    #[test]
    fn the_ends_are_kept() {
        // Above the list, at its end, and beyond it after it has become shorter.
        assert_eq!(drawn(10_000, in_view(10_000, -300.0, 900.0, 40.0)), Span { first: 0, end: 50 });
        assert_eq!(drawn(10_000, in_view(10_000, 399_500.0, 900.0, 40.0)).end, 10_000);
        assert_eq!(drawn(200, in_view(200, 399_500.0, 900.0, 40.0)), Span { first: 170, end: 200 });
    }
}
