//! The arguments of `show route`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::line::{Destination, Line, RouteQuery, Show};
use super::words::{Arguments, Choice, Error, Word, choose};

/// The words that select and shape.
pub(super) const ROUTE_KEYWORDS: [&str; 5] = ["all", "count", "export", "for", "protocol"];

pub(super) fn show_route(mut arguments: Arguments<'_>) -> Result<Line, Error> {
    let mut query = RouteQuery::default();
    while let Some(word) = arguments.next() {
        if let Some(net) = prefix(word) {
            set_destination(&mut query, Destination::Exact(net), &arguments, word)?;
            continue;
        }
        match choose(&word.text, ROUTE_KEYWORDS) {
            Choice::One("all") => query.all = true,
            Choice::One("count") => query.count = true,
            Choice::One("export") => {
                query.export = Some(arguments.need("the neighbour's name")?.text.clone());
            }
            Choice::One("protocol") => {
                query.protocol = Some(arguments.need("the protocol's name")?.text.clone());
            }
            Choice::One("for") => {
                let word = arguments.need("a prefix or an address")?;
                let net = prefix(word)
                    .ok_or_else(|| arguments.wrong(word, "is neither prefix nor address"))?;
                set_destination(&mut query, Destination::For(net), &arguments, word)?;
            }
            _ => return Err(arguments.unexpected(word)),
        }
    }
    Ok(Show::Route(query).into())
}

fn set_destination(
    query: &mut RouteQuery,
    destination: Destination,
    arguments: &Arguments<'_>,
    word: &Word,
) -> Result<(), Error> {
    if query.destination != Destination::Any {
        return Err(arguments.wrong(word, "is a second destination"));
    }
    query.destination = destination;
    Ok(())
}

/// A prefix with its host bits cleared; an address is the prefix that holds just it.
fn prefix(word: &Word) -> Option<IpNet> {
    let net = word.text.parse::<IpNet>().map(|net| net.trunc());
    net.ok().or_else(|| word.text.parse::<IpAddr>().ok().map(IpNet::from))
}
