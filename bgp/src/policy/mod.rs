//! Policy: what may come in, what may go out, and what changes on the way.
//!
//! A [`Policy`] is an ordered list of rules. The first rule that matches and does not say
//! [`Then::Continue`] decides; a route that no rule decides about meets the policy's default. The
//! defaults of RFC 8212 hold: without a policy nothing passes, and a route learned by BGP is not
//! passed on unless a rule with [`Source::Bgp`] accepts it (see [`Policy::evaluate`]).

use ipnet::IpNet;

use crate::wire::{Attributes, Community, ExtendedCommunity, LargeCommunity};

/// A named filter for one neighbour, family and direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The name shown to operators.
    pub name: String,
    /// What happens to a route that no rule decides about.
    pub default: Verdict,
    /// The rules in the order they are asked.
    pub rules: Vec<Rule>,
}

/// One rule: match, set, then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Where the route must come from; `None` matches any source.
    pub source: Option<Source>,
    /// Prefixes of which one must match; empty matches all.
    pub prefixes: Vec<PrefixMatch>,
    /// Labels of local routes of which one must match; empty matches all.
    pub tags: Vec<String>,
    /// What is changed on a route that matches.
    pub set: Changes,
    /// What happens then.
    pub then: Then,
}

/// Where a route comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// Announced by this speaker's owner.
    Local,
    /// Learned from a BGP neighbour.
    Bgp,
}

/// A set of prefixes, as BIRD's `192.0.2.0/24{25,32}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PrefixMatch {
    /// The covering prefix.
    pub prefix: IpNet,
    /// The shortest prefix length that matches, 0 to 128.
    pub min: u8,
    /// The longest prefix length that matches, 0 to 128.
    pub max: u8,
}

/// Changes a rule makes; the default changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// MULTI_EXIT_DISC (RFC 4271 section 5.1.4).
    pub med: Option<u32>,
    /// LOCAL_PREF (RFC 4271 section 5.1.5); sent to internal neighbours only.
    pub local_pref: Option<u32>,
    /// Communities added unless they are there already (RFC 1997).
    pub add_communities: Vec<Community>,
    /// Extended communities added unless they are there already (RFC 4360).
    pub add_extended_communities: Vec<ExtendedCommunity>,
    /// Large communities added unless they are there already (RFC 8092).
    pub add_large_communities: Vec<LargeCommunity>,
    /// How many more times the AS that would be prepended anyway is prepended, 0 to 32; nothing on
    /// the way to an internal neighbour.
    pub prepend: u8,
}

/// The end of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Then {
    /// The route passes.
    Accept,
    /// The route stops here.
    Reject,
    /// What was set stays set; the next rule is asked.
    Continue,
}

/// What a policy says about a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The route passes.
    Accept,
    /// The route stops here.
    Reject,
}

/// What a policy is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The destination.
    pub prefix: IpNet,
    /// Where the route comes from.
    pub source: Source,
    /// The label of a local route.
    pub tag: Option<&'a str>,
}

impl PrefixMatch {
    /// Exactly this prefix.
    #[must_use]
    pub fn exact(prefix: IpNet) -> Self {
        Self { prefix, min: prefix.prefix_len(), max: prefix.prefix_len() }
    }

    /// Whether `prefix` lies in the set. Prefixes of the other address family never do.
    #[must_use]
    pub fn matches(&self, prefix: &IpNet) -> bool {
        let length = prefix.prefix_len();
        self.prefix.contains(prefix) && (self.min..=self.max).contains(&length)
    }
}

impl Rule {
    /// A rule that matches everything and changes nothing.
    #[must_use]
    pub fn always(then: Then) -> Self {
        Self { source: None, prefixes: Vec::new(), tags: Vec::new(), set: Changes::default(), then }
    }

    fn matches(&self, subject: &Subject<'_>) -> bool {
        self.source.is_none_or(|source| source == subject.source)
            && (self.prefixes.is_empty()
                || self.prefixes.iter().any(|set| set.matches(&subject.prefix)))
            && (self.tags.is_empty()
                || self.tags.iter().any(|tag| Some(tag.as_str()) == subject.tag))
    }
}

impl Policy {
    /// Built in: accepts everything (on export, everything of our own).
    #[must_use]
    pub fn all() -> Self {
        Self { name: "all".to_owned(), default: Verdict::Accept, rules: Vec::new() }
    }

    /// Built in: accepts nothing.
    #[must_use]
    pub fn none() -> Self {
        Self { name: "none".to_owned(), default: Verdict::Reject, rules: Vec::new() }
    }

    /// Decides about a route and changes `attributes` on the way; on a rejection they are of no
    /// further use. `prepend_as` is the AS that [`Changes::prepend`] adds, none to add nothing.
    ///
    /// On `export` a learned route passes only by a rule that names [`Source::Bgp`], whatever the
    /// default and the rules for all sources say (RFC 8212).
    #[must_use]
    pub fn evaluate(
        &self,
        subject: &Subject<'_>,
        direction: Direction,
        prepend_as: Option<u32>,
        attributes: &mut Attributes,
    ) -> Verdict {
        let explicit_only = direction == Direction::Export && subject.source == Source::Bgp;
        for rule in self.rules.iter().filter(|rule| rule.matches(subject)) {
            rule.set.apply(prepend_as, attributes);
            match rule.then {
                Then::Continue => {}
                Then::Reject => return Verdict::Reject,
                Then::Accept if explicit_only && rule.source != Some(Source::Bgp) => {
                    return Verdict::Reject;
                }
                Then::Accept => return Verdict::Accept,
            }
        }
        if explicit_only { Verdict::Reject } else { self.default }
    }
}

/// Which way a route goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From a neighbour to us.
    Import,
    /// From us to a neighbour.
    Export,
}

impl Changes {
    pub(crate) fn apply(&self, prepend_as: Option<u32>, attributes: &mut Attributes) {
        attributes.med = self.med.or(attributes.med);
        attributes.local_pref = self.local_pref.or(attributes.local_pref);
        add(&self.add_communities, &mut attributes.communities);
        add(&self.add_extended_communities, &mut attributes.extended_communities);
        add(&self.add_large_communities, &mut attributes.large_communities);
        if let Some(asn) = prepend_as {
            attributes.as_path.prepend(asn, usize::from(self.prepend));
        }
    }
}

fn add<T: Copy + PartialEq>(more: &[T], to: &mut Vec<T>) {
    for one in more {
        if !to.contains(one) {
            to.push(*one);
        }
    }
}

#[cfg(test)]
mod tests;
