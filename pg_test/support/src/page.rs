//! Reading a report's page as a browser would, and what must not be in it.
//!
//! Owns one invariant: a page without complaints loads nothing, runs nothing and sends nothing, because
//! it consists of elements and attributes that cannot.

use html5ever::tendril::TendrilSink;
use html5ever::{ParseOpts, local_name, parse_document};
use markup5ever_rcdom::{Handle, NodeData, RcDom};

const ELEMENTS: &str = " html head meta title link style body main header section footer h1 h2 h3 p b i \
    bdi span code pre dl dt dd div ol ul li time table thead tbody tr th td figure figcaption svg rect path \
    text line circle ";

const ATTRIBUTES: &str = " lang charset http-equiv content name rel href class datetime role aria-label \
    aria-hidden scope tabindex viewBox preserveAspectRatio x y x1 x2 y1 y2 cx cy r width height d text-anchor ";

/// A page, parsed.
pub struct Page {
    dom: RcDom,
    ascii: bool,
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Page").finish_non_exhaustive()
    }
}

impl Page {
    /// Parses a document.
    #[must_use]
    pub fn read(html: &str) -> Self {
        let mut options = ParseOpts::default();
        options.tokenizer.exact_errors = true;
        options.tree_builder.exact_errors = true;
        Self { dom: parse_document(RcDom::default(), options).one(html), ascii: html.is_ascii() }
    }

    /// What a reader sees: the texts of all elements, one a line.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        walk(&self.dom.document, &mut |node, inside| {
            if let NodeData::Text { contents } = &node.data
                && inside != "style"
            {
                text.push_str(&contents.borrow());
                text.push('\n');
            }
        });
        text
    }

    /// The text of each element of this name.
    #[must_use]
    pub fn texts_of(&self, element: &str) -> Vec<String> {
        let mut texts = Vec::new();
        walk(&self.dom.document, &mut |node, _| {
            if let NodeData::Element { name, .. } = &node.data
                && &*name.local == element
            {
                let mut text = String::new();
                walk(node, &mut |inner, _| {
                    if let NodeData::Text { contents } = &inner.data {
                        text.push_str(&contents.borrow());
                    }
                });
                texts.push(text);
            }
        });
        texts
    }

    /// The policy the page sets for itself.
    #[must_use]
    pub fn policy(&self) -> String {
        let mut policy = String::new();
        walk(&self.dom.document, &mut |node, _| {
            if attribute(node, "http-equiv").as_deref() == Some("Content-Security-Policy") {
                policy = attribute(node, "content").unwrap_or_default();
            }
        });
        policy
    }

    /// Everything about the page that is not well formed, or could reach outside.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let mut found: Vec<String> =
            self.dom.errors.borrow().iter().map(|error| format!("parse error: {error}")).collect();
        if !self.ascii {
            found.push("a character that depends on the encoding".to_owned());
        }
        if !self.policy().starts_with("default-src 'none';") {
            found.push(format!("the policy is {:?}", self.policy()));
        }
        walk(&self.dom.document, &mut |node, inside| match &node.data {
            NodeData::Element { name, attrs, .. } => {
                if !ELEMENTS.contains(&format!(" {} ", name.local)) {
                    found.push(format!("an element {}", name.local));
                }
                for attr in attrs.borrow().iter() {
                    let harmless =
                        attr.name.local != local_name!("href") || &*attr.value == "data:,";
                    if !harmless || !ATTRIBUTES.contains(&format!(" {} ", attr.name.local)) {
                        found.push(format!(
                            "{} has {}={:?}",
                            name.local, attr.name.local, &*attr.value
                        ));
                    }
                }
            }
            NodeData::Text { contents } if inside == "style" => {
                let style = contents.borrow().to_lowercase();
                for word in ["url(", "@import", "@font-face", "image-set", "expression", "//"] {
                    if style.contains(word) {
                        found.push(format!("{word} in the style sheet"));
                    }
                }
            }
            NodeData::Comment { contents } => found.push(format!("a comment {contents}")),
            NodeData::ProcessingInstruction { target, .. } => found.push(format!("a {target}")),
            _ => {}
        });
        found
    }
}

fn attribute(node: &Handle, wanted: &str) -> Option<String> {
    let NodeData::Element { attrs, .. } = &node.data else { return None };
    let attrs = attrs.borrow();
    attrs.iter().find(|attr| &*attr.name.local == wanted).map(|attr| attr.value.to_string())
}

/// Calls for each node below, with the name of the element it stands in.
fn walk(node: &Handle, look: &mut dyn FnMut(&Handle, &str)) {
    let name = match &node.data {
        NodeData::Element { name, .. } => name.local.to_string(),
        _ => String::new(),
    };
    for child in node.children.borrow().iter() {
        look(child, &name);
        walk(child, look);
    }
}
