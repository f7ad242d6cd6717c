//! Just enough of Rust's grammar to find paths, functions and test code.

/// The tokens of a file, without comments, literals' contents and test code.
pub struct Source {
    tokens: Vec<Token>,
    line_count: usize,
}

#[derive(Clone, Debug)]
struct Token {
    /// An identifier or number; a single mark of punctuation; `""` for a text or character.
    text: String,
    line: usize,
}

impl Source {
    /// Reads a file's text.
    pub fn new(text: &str) -> Self {
        let (tokens, tested_lines) = without_tests(tokens(text));
        Self {
            tokens,
            line_count: text.lines().count() - tested_lines,
        }
    }

    /// Lines, those of test code left out.
    pub fn line_count(&self) -> usize {
        self.line_count
    }

    /// The rooms named in paths that begin at the crate's root, with their lines, for a file whose
    /// module is `depth` modules below the root.
    pub fn rooms_used(&self, depth: usize) -> Vec<(usize, String)> {
        let mut rooms = Vec::new();
        let mut scopes = Scopes::default();
        let mut i = 0;
        while i < self.tokens.len() {
            scopes.see(&self.tokens, i);
            let is_path_start = i == 0 || self.text(i - 1) != ":";
            match self.text(i) {
                "crate" | "despina" if is_path_start => self.collect(i + 1, &mut rooms),
                "super" if is_path_start => {
                    let mut count = 1;
                    while self.is_path_mark(i + 1) && self.text(i + 3) == "super" {
                        count += 1;
                        i += 3;
                    }
                    if count == depth + scopes.modules() {
                        self.collect(i + 1, &mut rooms);
                    }
                }
                _ => {}
            }
            i += 1;
        }
        rooms
    }

    /// Name, first line and number of lines of every function with a body.
    pub fn functions(&self) -> Vec<(String, usize, usize)> {
        let mut functions = Vec::new();
        for i in 0..self.tokens.len() {
            let name = self.text(i + 1);
            if self.text(i) != "fn" || !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
                continue;
            }
            if let Some(end) = item_end(&self.tokens, i).filter(|&end| self.text(end) == "}") {
                let begin = self.tokens[i].line;
                functions.push((name.to_owned(), begin, self.tokens[end].line - begin + 1));
            }
        }
        functions
    }

    fn text(&self, i: usize) -> &str {
        self.tokens.get(i).map_or("", |token| &token.text)
    }

    fn is_path_mark(&self, i: usize) -> bool {
        self.text(i) == ":" && self.text(i + 1) == ":"
    }

    /// Adds what follows the root: one name, or the first names of a group.
    fn collect(&self, i: usize, rooms: &mut Vec<(usize, String)>) {
        if !self.is_path_mark(i) {
            return;
        }
        let mut add = |i: usize| rooms.push((self.tokens[i].line, self.text(i).to_owned()));
        if self.text(i + 2) != "{" {
            add(i + 2);
            return;
        }
        let mut nesting = 0;
        for j in i + 2..self.tokens.len() {
            match self.text(j) {
                "{" => nesting += 1,
                "}" => nesting -= 1,
                _ if nesting == 1 && matches!(self.text(j - 1), "{" | ",") => add(j),
                _ => {}
            }
            if nesting == 0 {
                return;
            }
        }
    }
}

/// The modules written inside a file around the place that is being read.
#[derive(Default)]
struct Scopes {
    /// For each open brace whether it is a module's.
    open: Vec<bool>,
}

impl Scopes {
    fn see(&mut self, tokens: &[Token], i: usize) {
        match tokens[i].text.as_str() {
            "{" => self.open.push(i >= 2 && tokens[i - 2].text == "mod"),
            "}" => {
                self.open.pop();
            }
            _ => {}
        }
    }

    fn modules(&self) -> usize {
        self.open.iter().filter(|is_module| **is_module).count()
    }
}

/// Takes out every item behind `#[cfg(test)]`; returns the rest and how many lines were taken.
fn without_tests(tokens: Vec<Token>) -> (Vec<Token>, usize) {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut lines = 0;
    let mut i = 0;
    while i < tokens.len() {
        let rest = &tokens[i..];
        let is_test = rest.len() > MARK.len() && MARK.iter().zip(rest).all(|(m, t)| *m == t.text);
        if is_test {
            let end = item_end(&tokens, i + MARK.len()).unwrap_or(tokens.len() - 1);
            lines += tokens[end].line - tokens[i].line + 1;
            i = end + 1;
        } else {
            kept.push(tokens[i].clone());
            i += 1;
        }
    }
    (kept, lines)
}

/// Where the item that begins at `begin` ends: at a semicolon outside all brackets, or at the
/// brace that closes its first block (a `use` group goes on to its semicolon).
fn item_end(tokens: &[Token], begin: usize) -> Option<usize> {
    let mut nesting = 0_usize;
    let mut is_use = false;
    for (i, token) in tokens.iter().enumerate().skip(begin) {
        match token.text.as_str() {
            "use" if nesting == 0 => is_use = true,
            "(" | "[" | "{" => nesting += 1,
            ")" | "]" => nesting = nesting.checked_sub(1)?,
            "}" => {
                nesting = nesting.checked_sub(1)?;
                if nesting == 0 && !is_use {
                    return Some(i);
                }
            }
            ";" if nesting == 0 => return Some(i),
            _ => {}
        }
    }
    None
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut lexer = Lexer {
        chars: text.chars().collect(),
        at: 0,
        line: 1,
    };
    while let Some(token) = lexer.token() {
        tokens.push(token);
    }
    tokens
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn step(&mut self) -> char {
        let c = self.peek(0);
        if c == '\n' {
            self.line += 1;
        }
        self.at += 1;
        c
    }

    fn token(&mut self) -> Option<Token> {
        self.skip_space_and_comments();
        if self.at >= self.chars.len() {
            return None;
        }
        let line = self.line;
        let first = self.peek(0);
        let text = if self.skip_text() || self.skip_character() {
            String::new()
        } else if first.is_alphanumeric() || first == '_' {
            let mut word = String::new();
            while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
                word.push(self.step());
            }
            word
        } else {
            self.step().to_string()
        };
        Some(Token { text, line })
    }

    fn skip_space_and_comments(&mut self) {
        loop {
            match (self.peek(0), self.peek(1)) {
                ('/', '/') => {
                    while !matches!(self.peek(0), '\n' | '\0') {
                        self.step();
                    }
                }
                ('/', '*') => self.skip_block_comment(),
                (c, _) if c.is_whitespace() => {
                    self.step();
                }
                _ => return,
            }
        }
    }

    fn skip_block_comment(&mut self) {
        let mut nesting = 0;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => nesting += 1,
                ('*', '/') => nesting -= 1,
                _ => {
                    self.step();
                    continue;
                }
            }
            self.at += 2;
            if nesting == 0 {
                return;
            }
        }
    }

    /// `"…"`, `b"…"`, `c"…"`, `r#"…"#` and their kin.
    fn skip_text(&mut self) -> bool {
        let mut ahead = 0;
        while matches!(self.peek(ahead), 'b' | 'c' | 'r') && ahead < 2 {
            ahead += 1;
        }
        let is_raw = ahead > 0 && self.peek(ahead - 1) == 'r';
        let mut hashes = 0;
        while is_raw && self.peek(ahead + hashes) == '#' {
            hashes += 1;
        }
        if self.peek(ahead + hashes) != '"' {
            return false;
        }
        self.at += ahead + hashes + 1;
        while self.at < self.chars.len() {
            match self.step() {
                '\\' if !is_raw => {
                    self.step();
                }
                '"' if (0..hashes).all(|i| self.peek(i) == '#') => {
                    self.at += hashes;
                    break;
                }
                _ => {}
            }
        }
        true
    }

    /// `'c'` and `b'c'`; a lifetime is not one.
    fn skip_character(&mut self) -> bool {
        let begin = usize::from(self.peek(0) == 'b');
        if self.peek(begin) != '\'' {
            return false;
        }
        if self.peek(begin + 1) == '\\' {
            self.at += begin + 3;
            while self.step() != '\'' && self.at < self.chars.len() {}
            return true;
        }
        if self.peek(begin + 2) == '\'' {
            self.at += begin + 3;
            return true;
        }
        false
    }
}
