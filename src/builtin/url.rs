//! Pure: addresses with query parameters.

use super::text::push;

/// `base` + `path` + the encoded parameters. A slash at the end of the base is not doubled.
pub(super) fn with_query(base: &str, path: &str, query: &[(&str, &str)]) -> String {
    let mut url = format!("{}{path}", base.trim_end_matches('/'));
    for (index, (name, value)) in query.iter().enumerate() {
        url.push(if index == 0 { '?' } else { '&' });
        encode(&mut url, name);
        url.push('=');
        encode(&mut url, value);
    }
    url
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn encode(url: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            push(url, format_args!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded_and_the_base_is_joined_once() {
        let url = with_query("http://h/api/", "/v1", &[("id", "/a/b"), ("q", "São & co=1")]);
        assert_eq!(url, "http://h/api/v1?id=%2Fa%2Fb&q=S%C3%A3o%20%26%20co%3D1");
        assert_eq!(with_query("http://h", "/v1", &[]), "http://h/v1");
    }
}
