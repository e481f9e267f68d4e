//! Text that people wrote, made harmless and fitted to the terminal.

use std::io::IsTerminal as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Lines are not longer than this even on a wide terminal.
const MAX_WIDTH: usize = 100;
/// Lines are not shorter than this even on a narrow terminal, or deep in a tree.
const MIN_WIDTH: usize = 30;

/// A text of several lines without control characters: those that could move the
/// cursor, change colours or reverse the reading order are shown instead of obeyed.
pub fn lines(text: &str) -> String {
    text.chars()
        .map(|character| if character == '\n' { '\n' } else { harmless(character) })
        .collect()
}

/// As [`lines`], all in one line.
pub fn line(text: &str) -> String {
    text.chars()
        .map(|character| if character == '\n' { ' ' } else { harmless(character) })
        .collect()
}

/// The beginning of a text, in one line of at most `width` characters.
pub fn excerpt(text: &str, width: usize) -> String {
    let text = line(text);
    if text.chars().count() <= width {
        return text;
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

fn harmless(character: char) -> char {
    match character {
        '\t' => ' ',
        // Every C0 character has a picture.
        '\0'..='\u{1f}' => {
            char::from_u32(0x2400 + u32::from(character)).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        '\u{7f}' => '␡',
        // C1 characters, and those that embed, override and isolate directions.
        '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            char::REPLACEMENT_CHARACTER
        }
        other => other,
    }
}

/// How wide the terminal is; nothing where standard output is none.
pub fn terminal_width() -> Option<usize> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let (width, _) = terminal_size::terminal_size_of(stdout)?;
    Some(usize::from(width.0).min(MAX_WIDTH))
}

/// The lines of a text, broken between words where they are wider than `width` less
/// `indent`; without a width they stay as they are. Control characters are gone.
pub fn wrap(text: &str, width: Option<usize>, indent: usize) -> Vec<String> {
    let text = lines(text);
    let lines = text.trim_end().lines();
    let Some(width) = width else {
        return lines.map(|line| line.trim_end().to_owned()).collect();
    };
    let width = width.saturating_sub(indent).max(MIN_WIDTH);
    lines.flat_map(|line| wrap_line(line.trim_end(), width)).collect()
}

fn wrap_line(line: &str, width: usize) -> Vec<String> {
    let mut wrapped = vec![String::new()];
    let mut used = 0;
    for word in line.split_inclusive(' ') {
        let needed = word.trim_end().width();
        if used > 0 && used + needed > width {
            wrapped.push(String::new());
            used = 0;
        }
        for character in word.chars() {
            let needed = character.width().unwrap_or(0);
            // A single word that is wider than the line is cut.
            if character != ' ' && used + needed > width {
                wrapped.push(String::new());
                used = 0;
            }
            used += needed;
            if let Some(last) = wrapped.last_mut() {
                last.push(character);
            }
        }
    }
    wrapped.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_instead_of_obeyed() {
        assert_eq!(lines("a\u{1b}[2Jb\nc\rd"), "a␛[2Jb\nc␍d");
        assert_eq!(lines("\u{9b}31m\u{7f}"), "\u{fffd}31m␡");
        assert_eq!(lines("x\u{202e}y\u{2066}"), "x\u{fffd}y\u{fffd}");
        assert_eq!(line("a\nb\tc"), "a b c");
    }

    #[test]
    fn letters_of_every_script_stay() {
        let text = "żółć 강남스타일 مرحبا 👨‍👩‍👧";
        assert_eq!(lines(text), text);
    }

    #[test]
    fn an_excerpt_says_that_it_is_one() {
        assert_eq!(excerpt("short", 5), "short");
        assert_eq!(excerpt("longer", 5), "long…");
    }

    #[test]
    fn lines_break_between_words() {
        let text = "one two three four five six seven eight";
        assert_eq!(wrap(text, Some(34), 4), ["one two three four five six", "seven eight"]);
        assert_eq!(wrap(text, None, 4), [text]);
    }

    #[test]
    fn a_word_that_is_too_wide_is_cut_by_its_width() {
        let wide = "강".repeat(20);
        assert_eq!(wrap(&wide, Some(30), 0), ["강".repeat(15), "강".repeat(5)]);
    }

    #[test]
    fn empty_lines_stay_and_those_at_the_end_go() {
        assert_eq!(wrap("a\n\nb\n\n", Some(40), 0), ["a", "", "b"]);
    }
}
