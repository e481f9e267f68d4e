//! Judging a text by a site's policy. No I/O.
//!
//! A [`Policy`] is what a site has set; [`Compiled`] is it made ready to judge. All
//! matching is on texts that [`normal`] has made alike: NFKC, case folded, without
//! characters that nobody sees.

mod links;
mod normal;
mod policy;
mod words;

use std::collections::HashSet;

use agora_proto::event::v1::{Decision, Rule};
use regex::Regex;

pub use normal::{TextHash, normal, text_hash};
pub use policy::{InvalidPolicy, Mode, Policy, Repeated};

use links::Links;
use words::Words;

/// A policy made ready to judge.
pub struct Compiled {
    policy: Policy,
    banned: Words,
    suspect: Words,
    patterns: Vec<Regex>,
    listed: HashSet<String>,
    trusted: HashSet<String>,
}

/// What is known besides the text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'f> {
    /// Who wrote it.
    pub author_id: &'f str,
    /// How many of their comments on this site were approved.
    pub author_approved: u64,
    /// How often the site has seen the text within the policy's window.
    pub text_seen: usize,
}

/// What a policy says of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// PENDING, APPROVED or REJECTED.
    pub decision: Decision,
    /// Every rule that matched, and by what.
    pub hits: Vec<Hit>,
}

/// A rule that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Which.
    pub rule: Rule,
    /// By what: a word, a pattern, a domain or a number.
    pub detail: String,
}

impl Compiled {
    /// Makes a policy ready.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn new(policy: Policy) -> Result<Self, Vec<InvalidPolicy>> {
        let patterns = policy.check()?;
        Ok(Self {
            banned: Words::new(&policy.banned_words),
            suspect: Words::new(&policy.suspect_words),
            patterns,
            listed: policy.listed_domains.iter().map(|domain| normal(domain)).collect(),
            trusted: policy.trusted_author_ids.iter().cloned().collect(),
            policy,
        })
    }

    /// The policy that was made ready.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Judges one text.
    pub fn judge(&self, text: &str, facts: Facts<'_>) -> Judgement {
        if self.trusted.contains(facts.author_id) {
            let hit = Hit { rule: Rule::TrustedAuthor, detail: facts.author_id.to_owned() };
            return Judgement { decision: Decision::Approved, hits: vec![hit] };
        }
        let mut hits = Vec::new();
        let mut hit = |rule, detail: String| hits.push(Hit { rule, detail });
        let plain = normal(text);
        self.banned.find(&plain, |word| hit(Rule::BannedWord, word.to_owned()));
        let rejected = self.banned.is_match(&plain);
        self.suspect.find(&plain, |word| hit(Rule::SuspectWord, word.to_owned()));
        for (pattern, regex) in self.policy.suspect_patterns.iter().zip(&self.patterns) {
            if regex.is_match(&plain) {
                hit(Rule::SuspectPattern, pattern.clone());
            }
        }
        self.judge_links(&plain, &mut hit);
        self.judge_facts(text, facts, &mut hit);
        let decision = match (rejected, hits.is_empty()) {
            (true, _) => Decision::Rejected,
            (false, false) => Decision::Pending,
            (false, true) => Decision::Approved,
        };
        Judgement { decision, hits }
    }

    fn judge_links(&self, plain: &str, hit: &mut impl FnMut(Rule, String)) {
        if self.policy.max_links.is_none() && self.listed.is_empty() {
            return;
        }
        let links = Links::of(plain);
        if self.policy.max_links.is_some_and(|max| links.count() > max as usize) {
            hit(Rule::Links, links.count().to_string());
        }
        let mut listed: Vec<&str> =
            links.domains().filter(|domain| self.listed.contains(*domain)).collect();
        listed.sort_unstable();
        listed.dedup();
        for domain in listed {
            hit(Rule::ListedDomain, domain.to_owned());
        }
    }

    fn judge_facts(&self, text: &str, facts: Facts<'_>, hit: &mut impl FnMut(Rule, String)) {
        if let Some(repeated) = &self.policy.repeated_text
            && facts.text_seen >= repeated.count as usize
        {
            hit(Rule::RepeatedText, facts.text_seen.to_string());
        }
        if let Some(max) = self.policy.max_length {
            let length = text.chars().count();
            if length > max as usize {
                hit(Rule::Length, length.to_string());
            }
        }
        if facts.author_approved < u64::from(self.policy.hold_first_comments) {
            hit(Rule::FirstComments, facts.author_approved.to_string());
        }
        if self.policy.mode == Mode::HoldAll {
            hit(Rule::HoldAll, String::new());
        }
    }
}

#[cfg(test)]
mod tests;
