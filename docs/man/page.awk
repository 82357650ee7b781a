# SPDX-License-Identifier: GPL-3.0-or-later
# page.awk: a manual page from its .in file.  Lines there that begin with @ stand for what is said
# elsewhere in the tree, so that it is said once:
#     @settings FILE        the rows of a conf.def, as a list
#     @errors FILE          the rows of errors.def
#     @metrics FILE         the rows of metrics.def
#     @commands FILE        for each row of cli_commands.def its --help
#     @sbatch FILE          the options in cli_sbatch.def
#     @refused FILE         those in sbatch_options.def that are refused, and why
#     @variables FILE       the rows of cli_sbatch_env.def
#     @functions FILE...    the names of headers' functions, in one line
#     @header FILE          a header's comments and declarations
# Variables: version, date, libexecdir, cli (the built slurm-agent).

BEGIN { q = sprintf("%c", 39) }

function roff(s) {
    gsub(/\\/, "\\e", s)
    gsub(/-/, "\\-", s)
    if (s ~ "^[." q "]") s = "\\&" s
    return s
}

# A paragraph begins with the next text, unless something begins one by itself.
function para() { wanted = 1 }
function put(s) {
    if (wanted && s !~ /^\.(SH|SS|TP|PP)/ && last !~ /^\.(SH|SS)/) print ".PP"
    wanted = 0
    last = s
    print s
}

# Text: what troff would read otherwise is escaped.
function say(s) { put(roff(s)) }

# With a capital, unless it begins with something that is to be written as it stands: an address, a list of values.
function sentence(s) { return s ~ "^[a-z" q "]+([ ,.;]|: |$)" ? toupper(substr(s, 1, 1)) substr(s, 2) : s }

function die(text) { print "page.awk: " text > "/dev/stderr"; failed = 1; exit 1 }

# The arguments of NAME(a, "b, c", d) into arg[1..n], strings without their quotes.
function arguments(line, arg,    s, n, i, c, in_string, word) {
    s = line
    sub(/^[A-Z_]+\(/, "", s)
    sub(/\)[ \t]*$/, "", s)
    n = 1
    word = ""
    for (i = 1; i <= length(s); i++) {
        c = substr(s, i, 1)
        if (c == "\"") in_string = !in_string
        else if (c == "," && !in_string) { arg[n++] = word; word = "" }
        else if (c == " " && word == "" && !in_string) continue
        else word = word c
    }
    arg[n] = word
    return n
}

# ---- rows of .def files, which may go over several lines ----
function row(file, macro,    line, more) {
    while ((getline line < file) > 0) {
        if (line !~ "^" macro "[A-Z_]*\\(") continue
        while (line !~ /\)[ \t]*$/ && (getline more < file) > 0) {
            sub(/^[ \t]+/, " ", more)
            line = line more
        }
        return line
    }
    close(file)
    return ""
}

function settings(file,    line, a, kind, unit) {
    while ((line = row(file, "CONF_")) != "") {
        kind = substr(line, 6, 4)
        delete a
        arguments(line, a)
        if (a[2] == "LIBEXECDIR") a[2] = libexecdir
        put(".TP")
        put(".B " roff(a[1]))
        if (kind == "INT(") {
            unit = a[5] == "" ? "" : " " a[5]
            say(sentence(a[6]) ".")
            say("A number from " a[3] " to " a[4] unit "; " a[2] " unless set.")
        } else {
            say(sentence(a[3]) ".")
            if (a[2] != "") say("Unless set: " a[2])
        }
        seen++
    }
    if (!seen) die("no settings in " file)
}

function errors(file,    line, a) {
    while ((line = row(file, "ERR")) != "") {
        arguments(line, a)
        put(".TP")
        put(".BR " a[3] " \" (" roff(a[1]) ")\"")
        say(sentence(a[5]) "." (a[4] == "true" ? "  The same may succeed later." : ""))
        seen++
    }
    if (!seen) die("no errors in " file)
}

# The string that is a metric's name comes first, but for a reading's kind; the last one is its help.
function metrics(file,    line, a, n, i, kind) {
    while ((line = row(file, "(COUNTER|HISTOGRAM|READING)")) != "") {
        delete a
        n = arguments(line, a)
        kind = line ~ /^COUNTER/ ? "counter" : line ~ /^HISTOGRAM/ ? "histogram" : a[2]
        i = line ~ /^READING/ ? 3 : 2
        put(".TP")
        put(".BR " roff(a[i]) " \" (" kind ")\"")
        say(a[n] ".")
        seen++
    }
    if (!seen) die("no metrics in " file)
}

# ---- sbatch's words ----
function sbatch(file,    line, a, letter, value) {
    while ((line = row(file, "(SBATCH|HERE)")) != "") {
        delete a
        arguments(line, a)
        letter = a[2] != "0" ? "-" substr(a[2], 2, 1) ", " : ""
        value = line ~ /^HERE/ ? "" : a[3] == "REQUIRED" ? "=" a[4] : a[3] == "OPTIONAL" ? "[=" a[4] "]" : ""
        put(".TP")
        put(".B " roff(letter "--" a[1] value))
        value = line ~ /^HERE/ ? a[3] : a[5]
        say(sentence(value) ".")
        seen++
    }
    if (!seen) die("no options in " file)
}

function refused(file,    line, a) {
    while ((line = row(file, "REFUSED")) != "") {
        delete a
        arguments(line, a)
        put(".TP")
        put(".B " roff((a[2] != "0" ? "-" substr(a[2], 2, 1) ", " : "") "--" a[1] (a[3] == "VALUE" ? "=VALUE" : "")))
        say(sentence(a[4]) ".")
        seen++
    }
    if (!seen) die("nothing refused in " file)
}

function variables(file,    line, a) {
    while ((line = row(file, "VARIABLE")) != "") {
        delete a
        arguments(line, a)
        put(".TP")
        put(".B " roff(a[1]))
        say(a[2] == "clusters" ? "Refused, as --clusters." : a[2] == "req-switch" || a[2] == "wait4switch" ? "A part of --switches." : "As --" a[2] ".")
        seen++
    }
    if (!seen) die("no variables in " file)
}

# ---- a command's --help ----
function option(line,    form, i) {
    sub(/^ +/, "", line)
    i = match(line, /  +[^ ]/)
    # a form that fills its column has one blank behind it
    if (!i) i = match(line, / [a-z]/)
    form = substr(line, 1, i - 1)
    sub(/^ +/, "", form)
    line = substr(line, i)
    sub(/^ +/, "", line)
    put(".TP")
    put(".B " roff(form))
    say(sentence(line) ".")
}

function help(name,    cmd, line, state, lines) {
    cmd = cli " help " name
    while ((cmd | getline line) > 0) {
        lines++
        if (lines == 1) {
            sub(/^usage: slurm-agent /, "", line)
            put(".SS " roff(line))
        } else if (line == "") {
            if (state == "verbatim") put(".fi")
            if (lines > 2 && state != "options") para()
            state = ""
        } else if (line ~ /^ +(-[A-Za-z],)? *--/ && state != "verbatim" && !behind[name]) {
            option(line)
            state = "options"
        } else if (line ~ /^  /) {
            if (state != "verbatim") { put(".nf"); state = "verbatim" }
            say(line)
        } else {
            if (state == "options") { para() }
            if (lines > 4) behind[name] = 1
            if (state == "") { state = "text"; if (lines > 4) para() }
            if (lines == 3) line = sentence(line) "."
            say(line)
        }
    }
    if (state == "verbatim") put(".fi")
    if (close(cmd) != 0 || lines < 3) die("no help for " name)
}

function commands(file,    line, a) {
    while ((line = row(file, "CMD")) != "") {
        delete a
        arguments(line, a)
        help(a[1])
        seen++
    }
    if (!seen) die("no commands in " file)
}

# ---- a header ----
function functions(files,    line, list, file, n, i) {
    n = split(files, file, " ")
    for (i = 2; i <= n; i++) {
        while ((getline line < file[i]) > 0)
            if (match(line, /sagent_[a-z_]+\(/) && line ~ /^[a-z].*sagent_[a-z_]+\(/ && line !~ /^ /)
                list = list (list == "" ? "" : ", ") substr(line, RSTART, RLENGTH - 1)
        close(file[i])
    }
    if (list == "") die("no functions in " files)
    put("libslurmagent, " list " \\- submit, watch and cancel Slurm jobs through slurm\\-agentd")
}

# One comment's lines, their decoration taken off, as paragraphs; what is indented stays as it is.
function prose(text,    n, l, i, verbatim, s) {
    n = split(text, l, "\n")
    for (i = 1; i <= n; i++) {
        s = l[i]
        sub(/^\/\* ?/, "", s)
        sub(/ ?\*\/[ \t]*$/, "", s)
        sub(/^ \* ?/, "", s)
        sub(/[ \t]+$/, "", s)
        if (s ~ /^    / && !verbatim) { put(".nf"); verbatim = 1 }
        else if (s !~ /^    / && verbatim) { put(".fi"); verbatim = 0 }
        if (s == "" || s == "*/") { if (i < n) para() }
        else say(s)
    }
    if (verbatim) put(".fi")
}

function header(file,    line, comment, code, in_comment, in_code, started, title) {
    while ((getline line < file) > 0) {
        if (!started) {
            # the first comment but the licence's is about it all
            if (line ~ /^\/\* slurmagent(_store|_admin)?\.h:/) { in_comment = 1; comment = ""; started = 1; continue }
            continue
        }
        if (line ~ /^(#|extern "C"|}$)/) continue
        if (line ~ /^\/\* ---- .* ---- \*\/$/) {
            title = line
            gsub(/^\/\* ---- | ---- \*\/$/, "", title)
            put(".SH " roff(toupper(title)))
            continue
        }
        if (!in_code && (in_comment || line ~ /^\/\*/)) {
            comment = comment (comment == "" ? "" : "\n") line
            in_comment = line !~ /\*\/[ \t]*$/
            continue
        }
        if (line == "" && !in_code) {
            if (comment != "") { para(); prose(comment); comment = "" }
            continue
        }
        if (!in_code) { para(); put(".nf"); in_code = 1; braces = 0 }
        say(line)
        braces += gsub(/{/, "{", line) - gsub(/}/, "}", line)
        if (braces == 0 && line ~ /;([ \t]*\/\*.*)?$/) {
            put(".fi")
            in_code = 0
            if (comment != "") { para(); prose(comment); comment = "" }
            seen++
        }
    }
    if (!seen) die("no declarations in " file)
}

/^@settings / { seen = 0; settings($2); next }
/^@errors /   { seen = 0; errors($2); next }
/^@metrics /  { seen = 0; metrics($2); next }
/^@commands / { seen = 0; commands($2); next }
/^@sbatch /   { seen = 0; sbatch($2); next }
/^@refused /  { seen = 0; refused($2); next }
/^@variables / { seen = 0; variables($2); next }
/^@functions / { functions($0); next }
/^@header /   { seen = 0; header($2); next }
/^@/          { die("there is no " $1) }
{
    gsub(/@VERSION@/, version)
    gsub(/@DATE@/, date)
    gsub(/@LIBEXECDIR@/, libexecdir)
    put($0)
}
END { if (failed) exit 1 }
