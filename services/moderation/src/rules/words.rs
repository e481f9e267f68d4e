use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use unicode_normalization::char::is_combining_mark;

use super::normal;

/// Words and phrases, found all at once and only as whole words.
pub(super) struct Words {
    /// Nothing if there is no word.
    automaton: Option<AhoCorasick>,
    words: Vec<String>,
}

impl Words {
    /// Words that [`super::Policy::check`] has found to be valid.
    pub(super) fn new(words: &[String]) -> Self {
        let words: Vec<String> =
            words.iter().map(|word| normal(word)).filter(|word| !word.is_empty()).collect();
        let automaton = AhoCorasickBuilder::new().match_kind(MatchKind::Standard).build(&words);
        let automaton = automaton.ok().filter(|_| !words.is_empty());
        Self { automaton, words }
    }

    /// Whether a normal text has one of the words.
    pub(super) fn is_match(&self, text: &str) -> bool {
        let mut found = false;
        self.find(text, |_| found = true);
        found
    }

    /// Tells every word that a normal text has, once.
    pub(super) fn find(&self, text: &str, mut tell: impl FnMut(&str)) {
        let Some(automaton) = &self.automaton else { return };
        let mut told = Vec::new();
        for found in automaton.find_overlapping_iter(text) {
            let id = found.pattern().as_usize();
            if is_whole(text, found.start(), found.end()) && !told.contains(&id) {
                told.push(id);
                tell(&self.words[id]);
            }
        }
    }
}

/// Whether a match is not part of a longer word. A match that begins or ends with a
/// sign, such as `$$$`, needs no boundary there.
fn is_whole(text: &str, start: usize, end: usize) -> bool {
    let inner_start = text[start..].chars().next().is_some_and(is_of_word);
    let inner_end = text[..end].chars().next_back().is_some_and(is_of_word);
    let before = text[..start].chars().next_back().is_some_and(is_of_word);
    let after = text[end..].chars().next().is_some_and(is_of_word);
    !(inner_start && before || inner_end && after)
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || is_combining_mark(character)
}
