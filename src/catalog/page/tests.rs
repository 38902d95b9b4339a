//! Pages: whole results, nothing lost or doubled, cursors that cannot lead astray.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::catalog::spec::{NamingSpec, OfferSpec};
use crate::catalog::tests::part;
use crate::catalog::{Owner, Part, Source, merge};

fn server_info() -> Box<RawValue> {
    RawValue::from_string("{\"name\":\"waypost\",\n\"version\":\"1\"}".to_owned()).unwrap()
}

fn catalog_of(part: &Part) -> Catalog {
    let offer = OfferSpec::all("up");
    let source = Source { owner: Owner::Upstream(0), offer: &offer, part: Some(part) };
    merge(&NamingSpec::default(), &[source]).catalog
}

fn catalog(count: usize) -> Catalog {
    let names: Vec<String> = (0..count).map(|n| format!("t{n}")).collect();
    catalog_of(&part(&names.iter().map(String::as_str).collect::<Vec<_>>()))
}

fn pages_within(catalog: &Catalog, ttl: Duration, len: usize, bytes: usize) -> Pages {
    let info = server_info();
    let spec = PageSpec { ttl, scope: CacheScope::Private, server_info: &info };
    Pages::render_within(catalog, &spec, Bounds { len, bytes })
}

fn pages(catalog: &Catalog, len: usize) -> Pages {
    pages_within(catalog, Duration::from_mins(1), len, PAGE_BYTES_MAX)
}

/// All pages, walked as a client walks them.
fn walk(pages: &Pages, era: Era) -> Vec<Value> {
    let mut found = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page: Value =
            serde_json::from_slice(pages.get(era, cursor.as_deref()).unwrap()).unwrap();
        cursor = page.get("nextCursor").map(|cursor| cursor.as_str().unwrap().to_owned());
        found.push(page);
        if cursor.is_none() {
            return found;
        }
    }
}

#[test]
fn a_page_is_a_whole_result() {
    let catalog = catalog(2);
    let pages = pages(&catalog, 1);
    assert_eq!(pages.count(), 2);
    let next = cursor(&catalog.digest(), pages.bounds, 1);
    let tool = |name: &str| format!(r#"{{"name":"{name}","inputSchema":{{"type":"object"}}}}"#);
    let page = |era, cursor| str::from_utf8(pages.get(era, cursor).unwrap()).unwrap();
    let meta = concat!(
        r#","resultType":"complete","ttlMs":60000,"cacheScope":"private","#,
        r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"waypost", "version":"1"}}}"#
    );
    let (first, second) = (tool("up__t0"), tool("up__t1"));
    assert_eq!(page(Era::Legacy, None), format!(r#"{{"tools":[{first}],"nextCursor":"{next}"}}"#));
    assert_eq!(page(Era::Legacy, Some(&next)), format!(r#"{{"tools":[{second}]}}"#));
    assert_eq!(
        page(Era::Modern, None),
        format!(r#"{{"tools":[{first}],"nextCursor":"{next}"{meta}"#)
    );
    assert_eq!(page(Era::Modern, Some(&next)), format!(r#"{{"tools":[{second}]{meta}"#));
}

#[test]
fn an_empty_catalog_has_one_page() {
    let pages = pages(&Catalog::default(), 10);
    assert_eq!(pages.count(), 1);
    assert_eq!(&pages.get(Era::Legacy, None).unwrap()[..], br#"{"tools":[]}"#);
}

#[test]
fn a_page_has_at_most_a_thousand_tools() {
    let names: Vec<String> = (0..1_000).map(|n| format!("t{n}")).collect();
    let full = part(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let offers = ["a", "b", "c"].map(OfferSpec::all);
    let sources: Vec<Source<'_>> = (offers.iter().enumerate())
        .map(|(index, offer)| Source { owner: Owner::Upstream(index), offer, part: Some(&full) })
        .collect();
    let catalog = merge(&NamingSpec::default(), &sources).catalog;
    let info = server_info();
    let spec = PageSpec { ttl: Duration::ZERO, scope: CacheScope::Public, server_info: &info };
    let walked = walk(&Pages::render(&catalog, &spec), Era::Modern);
    let sizes: Vec<usize> = walked.iter().map(|p| p["tools"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [1_000, 1_000, 1_000]);
    assert!(walked.iter().all(|page| page["cacheScope"] == "public" && page["ttlMs"] == 0));
}

#[test]
fn a_page_has_at_most_four_mebibytes() {
    let mut big = part(&[]);
    let filler = "x".repeat(200 * 1024);
    big.tools = (0..50)
        .map(|n| {
            format!(r#"{{"name":"t{n}","title":"{filler}","inputSchema":{{"type":"object"}}}}"#)
        })
        .map(Into::into)
        .collect();
    let info = server_info();
    let spec = PageSpec { ttl: Duration::ZERO, scope: CacheScope::Private, server_info: &info };
    let pages = Pages::render(&catalog_of(&big), &spec);
    assert_eq!(pages.count(), 3);
    assert!(pages.modern.iter().all(|page| page.len() <= 4 * 1024 * 1024));
}

#[test]
fn the_empty_text_is_a_cursor_and_not_one_of_ours() {
    let pages = pages(&catalog(3), 1);
    assert_eq!(pages.get(Era::Modern, Some("")), Err(CursorError::Malformed));
}

#[test]
fn a_cursor_is_good_for_equal_content_only() {
    let old = pages(&catalog(3), 1);
    let next = walk(&old, Era::Legacy)[0]["nextCursor"].as_str().unwrap().to_owned();
    let same = pages_within(&catalog(3), Duration::from_millis(1), 1, PAGE_BYTES_MAX);
    assert_eq!(same.get(Era::Legacy, Some(&next)), old.get(Era::Legacy, Some(&next)));
    assert!(same.get(Era::Modern, Some(&next)).is_ok());
    let changed = pages(&catalog(4), 1);
    assert_eq!(changed.get(Era::Legacy, Some(&next)), Err(CursorError::Stale));
    let other_bounds = pages(&catalog(3), 2);
    assert_eq!(other_bounds.get(Era::Legacy, Some(&next)), Err(CursorError::Malformed));
}

#[test]
fn another_ttl_moves_no_tool_to_another_page() {
    let catalog = catalog(300);
    for bytes in 5_000..5_100 {
        let brief = pages_within(&catalog, Duration::ZERO, 1_000, bytes);
        let long = pages_within(&catalog, Duration::from_hours(100_000), 1_000, bytes);
        assert_eq!(brief.legacy, long.legacy, "{bytes}");
    }
}

#[test]
fn every_changed_character_is_noticed() {
    let pages = pages(&catalog(5), 1);
    let good = walk(&pages, Era::Modern)[0]["nextCursor"].as_str().unwrap().to_owned();
    assert!(pages.get(Era::Modern, Some(&good)).is_ok());
    for at in 0..good.len() {
        for new in ["A", "z", "_", "=", "%", "é"] {
            let mut bad = good.clone();
            bad.replace_range(at..=at, new);
            if bad != good {
                assert_eq!(pages.get(Era::Modern, Some(&bad)), Err(CursorError::Malformed));
            }
        }
    }
    let bad = [
        format!("{good}="),
        format!(" {good}"),
        good.replacen(|_: char| true, "", 1),
        "2".to_owned(),
    ];
    for bad in bad {
        assert_eq!(pages.get(Era::Modern, Some(&bad)), Err(CursorError::Malformed), "{bad}");
    }
}

#[test]
fn a_page_that_never_was_is_refused() {
    let catalog = catalog(3);
    let pages = pages(&catalog, 1);
    let beyond = cursor(&catalog.digest(), pages.bounds, 3);
    assert_eq!(pages.get(Era::Modern, Some(&beyond)), Err(CursorError::Malformed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_pages_together_are_all_tools_in_order(
        sizes in prop::collection::vec(0_usize..3_000, 0..40),
        len in 1_usize..12,
        bytes in 5_000_usize..20_000,
    ) {
        let mut part = part(&[]);
        // Some tools differ between the eras: both must be split at the same places.
        part.tools = sizes
            .iter()
            .enumerate()
            .map(|(n, size)| {
                let filler = "x".repeat(*size);
                let (only, schema) = match n % 3 {
                    0 => ("execution", r#"{"type":"object"}"#),
                    1 => ("title", r#"{"type":"object"}"#),
                    _ => ("title", r#"{"type":"object","x-mcp-header":"A"}"#),
                };
                format!(r#"{{"name":"t{n}","{only}":"{filler}","inputSchema":{schema}}}"#).into()
            })
            .collect();
        let catalog = catalog_of(&part);
        prop_assert_eq!(catalog.tools().len(), sizes.len());
        let pages = pages_within(&catalog, Duration::from_secs(1), len, bytes);
        for era in [Era::Legacy, Era::Modern] {
            let walked = walk(&pages, era);
            prop_assert_eq!(walked.len(), pages.count());
            let mut all = Vec::new();
            for page in &walked {
                let tools = page["tools"].as_array().unwrap();
                prop_assert!(tools.len() <= len);
                prop_assert!(!tools.is_empty() || sizes.is_empty());
                all.extend(tools.iter().cloned());
            }
            let want: Vec<Value> = catalog
                .tools()
                .iter()
                .map(|tool| serde_json::from_slice(tool.definition(era)).unwrap())
                .collect();
            prop_assert_eq!(all, want);
        }
        for (legacy, modern) in pages.legacy.iter().zip(&pages.modern) {
            prop_assert!(legacy.len() <= bytes && modern.len() <= bytes);
        }
    }

    #[test]
    fn no_text_crashes_a_cursor(text in any::<String>()) {
        let pages = pages(&catalog(2), 1);
        prop_assert!(pages.get(Era::Modern, Some(&text)).is_err());
    }
}
