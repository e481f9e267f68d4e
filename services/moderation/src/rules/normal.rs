use unicode_normalization::UnicodeNormalization as _;

/// A text as rules see it: NFKC, case folded, without characters that nobody sees.
/// Texts that look alike become the same.
pub fn normal(text: &str) -> String {
    let visible = text.nfkc().filter(|character| !is_invisible(*character));
    // Through upper case to lower case folds what one of them alone leaves: ß and SS, ſ
    // and s, dotless ı and i.
    let folded = visible.collect::<String>().to_uppercase().to_lowercase();
    folded.nfkc().collect()
}

/// Zero-width characters, joiners, soft hyphens and marks of direction: they split a word
/// without being seen.
const fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}'
            | '\u{feff}'
    )
}

/// What tells texts apart that say the same: BLAKE3 of the normal text with every run of
/// white space as one space, cut to 16 bytes.
pub type TextHash = [u8; 16];

/// The hash of a text.
pub fn text_hash(text: &str) -> TextHash {
    let normal = normal(text);
    let mut hasher = blake3::Hasher::new();
    for word in normal.split_whitespace() {
        hasher.update(word.as_bytes());
        hasher.update(b" ");
    }
    let mut hash = TextHash::default();
    hasher.finalize_xof().fill(&mut hash);
    hash
}
