//! Pictures in a terminal: two pixels for each character, the upper half block in the color of one and the background
//! in the color of the other.

use std::fmt::Write as _;

use console::Term;
use rekindle::env::render::Frame;

use crate::output::visible;

/// The size of a terminal that does not tell its own.
const COLUMNS: usize = 80;
const LINES: usize = 24;

/// The part of the terminal that frames are drawn in.
pub(super) struct Screen {
    columns: usize,
    lines: usize,
    /// Whether a frame was drawn.
    is_open: bool,
}

impl Screen {
    /// Creates a screen of at most `columns` characters in a line; by default, as many as the terminal has.
    pub(super) fn new(columns: Option<usize>) -> Self {
        let size = Term::stdout().size_checked().map(|(lines, columns)| [columns, lines]);
        let [own_columns, lines] = size.map_or([COLUMNS, LINES], |size| size.map(usize::from));
        let columns = columns.unwrap_or(own_columns).max(1);
        // Two lines are for the text and the cursor.
        let lines = lines.saturating_sub(2).max(1);
        Self { columns, lines, is_open: false }
    }

    /// Returns what draws a frame over the last one, with a line of text below.
    pub(super) fn draw(&mut self, frame: &Frame, about: &str) -> String {
        // Clear the screen and hide the cursor, then move to the upper left corner.
        let start = if self.is_open { "\x1b[H" } else { "\x1b[2J\x1b[?25l\x1b[H" };
        self.is_open = true;
        let picture = half_blocks(frame, self.columns, self.lines);
        // A second line would move the next frame.
        let about: String = visible(about).chars().take(self.columns).collect();
        format!("{start}{picture}{about}\x1b[K\r\n")
    }

    /// Returns what shows the cursor again.
    pub(super) fn end(&self) -> &'static str {
        if self.is_open { "\x1b[?25h" } else { "" }
    }
}

/// Returns a frame as lines of half blocks, as large as fits. A character is about twice as high as wide, so that pixels
/// are square.
fn half_blocks(frame: &Frame, columns: usize, lines: usize) -> String {
    let (height, width) = (frame.height(), frame.width());
    let scale = (columns as f64 / width as f64).min(2.0 * lines as f64 / height as f64);
    let columns = ((width as f64 * scale).round() as usize).clamp(1, columns);
    let rows = ((height as f64 * scale).round() as usize).clamp(1, 2 * lines);
    let mut text = String::new();
    let color = |row: usize, column: usize| mean_color(frame, [row, column], [rows, columns]);
    for row in (0..rows).step_by(2) {
        for column in 0..columns {
            let [r, g, b] = color(row, column);
            let below = (row + 1 < rows).then(|| color(row + 1, column));
            // Writing to a string does not fail.
            let _ = match below {
                Some([r2, g2, b2]) => {
                    write!(text, "\x1b[38;2;{r};{g};{b};48;2;{r2};{g2};{b2}m▀")
                }
                None => write!(text, "\x1b[38;2;{r};{g};{b};49m▀"),
            };
        }
        text.push_str("\x1b[0m\x1b[K\r\n");
    }
    text
}

/// Returns the mean color of the part of a frame that a cell of a grid covers.
fn mean_color(frame: &Frame, cell: [usize; 2], grid: [usize; 2]) -> [u8; 3] {
    let range = |index: usize, cells: usize, size: usize| {
        let start = (index * size / cells).min(size - 1);
        start..((index + 1) * size).div_ceil(cells).clamp(start + 1, size)
    };
    let (mut sum, mut count) = ([0u64; 3], 0);
    for row in range(cell[0], grid[0], frame.height()) {
        for column in range(cell[1], grid[1], frame.width()) {
            if let Some(color) = frame.color(row, column) {
                sum.iter_mut().zip(color).for_each(|(sum, part)| *sum += u64::from(part));
                count += 1;
            }
        }
    }
    sum.map(|sum| (sum / count.max(1)) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(height: usize, width: usize, colors: &[[u8; 3]]) -> Frame {
        Frame::new(height, width, colors.concat()).unwrap()
    }

    #[test]
    fn two_pixels_are_one_character() {
        let picture = frame(2, 2, &[[1; 3], [2; 3], [3; 3], [4; 3]]);
        let expected = "\x1b[38;2;1;1;1;48;2;3;3;3m▀\x1b[38;2;2;2;2;48;2;4;4;4m▀\x1b[0m\x1b[K\r\n";
        assert_eq!(half_blocks(&picture, 2, 1), expected);
        let odd = half_blocks(&frame(1, 1, &[[9; 3]]), 1, 1);
        assert!(odd.contains("38;2;9;9;9;48;2;9;9;9") || odd.contains("38;2;9;9;9;49"), "{odd:?}");
    }

    #[test]
    fn a_large_frame_is_averaged_and_fits() {
        let checkered: Vec<_> =
            (0..400 * 600).map(|i| [if i % 2 == 0 { 0 } else { 200 }; 3]).collect();
        let text = half_blocks(&frame(400, 600, &checkered), 80, 22);
        let lines: Vec<_> = text.split("\r\n").filter(|line| !line.is_empty()).collect();
        assert!(lines.len() <= 22, "{}", lines.len());
        let counts: Vec<_> = lines.iter().map(|line| line.matches('▀').count()).collect();
        assert!(counts.iter().all(|count| *count == counts[0] && *count <= 80), "{counts:?}");
        // 3 columns for 2 rows, as in the frame: 66 columns for 44 rows.
        assert_eq!((counts[0], lines.len()), (66, 22));
        assert!(text.contains(";100;100;100") || text.contains(";99;99;99"), "{}", &text[..80]);
    }

    #[test]
    fn the_cursor_is_hidden_while_frames_are_drawn() {
        let mut screen = Screen::new(Some(10));
        assert_eq!(screen.end(), "");
        let picture = frame(1, 1, &[[0; 3]]);
        assert!(screen.draw(&picture, "first").starts_with("\x1b[2J\x1b[?25l"));
        let second = screen.draw(&picture, "second");
        assert!(second.starts_with("\x1b[H") && second.ends_with("second\x1b[K\r\n"), "{second:?}");
        assert_eq!(screen.end(), "\x1b[?25h");
    }
}
