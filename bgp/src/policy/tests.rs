use super::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn local<'a>(prefix: &str, tag: Option<&'a str>) -> Subject<'a> {
    Subject { prefix: net(prefix), source: Source::Local, tag }
}

fn learned(prefix: &str) -> Subject<'static> {
    Subject { prefix: net(prefix), source: Source::Bgp, tag: None }
}

fn export(policy: &Policy, subject: &Subject<'_>) -> Verdict {
    policy.evaluate(subject, Direction::Export, Some(65001), &mut Attributes::default())
}

#[test]
fn built_ins() {
    let subject = local("192.0.2.1/32", None);
    assert_eq!(export(&Policy::all(), &subject), Verdict::Accept);
    assert_eq!(export(&Policy::none(), &subject), Verdict::Reject);
}

#[test]
fn learned_routes_leave_only_by_a_rule_that_names_them() {
    let subject = learned("198.51.100.0/24");
    assert_eq!(export(&Policy::all(), &subject), Verdict::Reject);
    let mut policy = Policy::none();
    policy.rules = vec![Rule::always(Then::Accept)];
    assert_eq!(export(&policy, &subject), Verdict::Reject);
    policy.rules = vec![Rule { source: Some(Source::Bgp), ..Rule::always(Then::Accept) }];
    assert_eq!(export(&policy, &subject), Verdict::Accept);
    let import =
        Policy::all().evaluate(&subject, Direction::Import, None, &mut Attributes::default());
    assert_eq!(import, Verdict::Accept);
}

#[test]
fn prefix_ranges() {
    let set = PrefixMatch { prefix: net("192.0.2.0/24"), min: 25, max: 32 };
    for (prefix, expected) in [
        ("192.0.2.0/24", false),
        ("192.0.2.0/25", true),
        ("192.0.2.7/32", true),
        ("192.0.3.0/32", false),
        ("192.0.0.0/16", false),
        ("2001:db8::/32", false),
    ] {
        assert_eq!(set.matches(&net(prefix)), expected, "{prefix}");
    }
    assert!(PrefixMatch::exact(net("::/0")).matches(&net("::/0")));
    assert!(!PrefixMatch::exact(net("::/0")).matches(&net("::1/128")));
}

#[test]
fn rules_are_asked_in_order_and_continue_keeps_what_was_set() {
    let community = Community::new(65000, 100);
    let extended: ExtendedCommunity = "rt:65000:100".parse().unwrap();
    let large: LargeCommunity = "65000:1:2".parse().unwrap();
    let policy = Policy {
        name: "t".to_owned(),
        default: Verdict::Reject,
        rules: vec![
            Rule {
                tags: vec!["www".to_owned()],
                set: Changes {
                    med: Some(10),
                    add_communities: vec![community, community],
                    add_extended_communities: vec![extended, extended],
                    add_large_communities: vec![large, large],
                    prepend: 2,
                    ..Changes::default()
                },
                ..Rule::always(Then::Continue)
            },
            Rule {
                prefixes: vec![PrefixMatch::exact(net("192.0.2.1/32"))],
                set: Changes { local_pref: Some(200), ..Changes::default() },
                ..Rule::always(Then::Accept)
            },
            Rule {
                set: Changes { med: Some(99), ..Changes::default() },
                ..Rule::always(Then::Reject)
            },
        ],
    };
    let mut attributes = Attributes::default();
    let subject = local("192.0.2.1/32", Some("www"));
    let verdict = policy.evaluate(&subject, Direction::Export, Some(65001), &mut attributes);
    assert_eq!(verdict, Verdict::Accept);
    assert_eq!(attributes.med, Some(10));
    assert_eq!(attributes.local_pref, Some(200));
    assert_eq!(attributes.communities, vec![community]);
    assert_eq!(attributes.extended_communities, vec![extended]);
    assert_eq!(attributes.large_communities, vec![large]);
    assert_eq!(attributes.as_path.to_string(), "65001 65001");

    let mut attributes = Attributes::default();
    let subject = local("192.0.2.1/32", Some("mail"));
    let _ = policy.evaluate(&subject, Direction::Export, Some(65001), &mut attributes);
    assert_eq!(attributes.med, None, "a tag that does not match sets nothing");
    assert_eq!(export(&policy, &local("192.0.2.2/32", Some("www"))), Verdict::Reject);
}
