#!/usr/bin/env perl
# athena: knowledge, as triples "subject predicate object". Perl, only what every perl brings along.
#
# POST   /api/triples                 text, one triple a line: socrates teaches plato      add
# GET    /api/triples                 all of them, as text
# DELETE /api/triples                 the same text                                         remove
# GET    /api/query?where=            ?who teaches ?whom . ?whom teaches aristotle         the bindings, as JSON
# GET    /api/health, /api/ready
#
# A word that begins with "?" is a variable; triples of a query are joined by " . ".
# The triples are kept in engram under the key athena.triples, so that they survive a restart.

use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use POSIX ();

my $port = $ENV{PORT} // 8005;
my %usual_port = (hermes => 8001, engram => 8000);
my $memory_key = 'athena.triples';
my $max_request = 1 << 20;

# Knowledge ----------------------------------------------------------------------------------------------------------

my %known;    # "subject predicate object" => [subject, predicate, object]

sub parse {
    my @triples;
    for my $line (split /\n|\s\.(?=\s|$)/, shift) {
        my @words = split ' ', $line or next;
        die "not a triple: $line\n" if @words != 3;
        push @triples, \@words;
    }
    return @triples;
}

sub as_text { return join '', map { "$_\n" } sort keys %known }

# Every way to bind the variables of the patterns so that each pattern is known: first pattern first, depth first.
sub solve {
    my ($bound, $pattern, @more) = @_;
    return $bound if !$pattern;
    return map { solve($_, @more) } grep { $_ } map { match($pattern, $known{$_}, $bound) } sort keys %known;
}

# The bindings extended by what makes the pattern equal to the triple; nothing when it cannot be.
sub match {
    my ($pattern, $triple, $bound) = @_;
    my %extended = %$bound;
    for my $i (0 .. 2) {
        my $word = $pattern->[$i];
        my $wanted = $word =~ /^\?/ ? ($extended{$word} //= $triple->[$i]) : $word;
        return if $wanted ne $triple->[$i];
    }
    return \%extended;
}

# What it answers ----------------------------------------------------------------------------------------------------

my %routes = (
    'GET /api/health' => sub { (200, '{"status": "ok", "service": "athena"}') },
    'GET /api/ready'  => sub { (200, '{"ready": true}') },
    'GET /api/triples' => sub { (200, as_text(), 'text/plain; charset=utf-8') },
    'POST /api/triples' => sub {
        my @triples = parse(shift);
        $known{"@$_"} = $_ for @triples;
        remember();
        return (200, sprintf '{"added": %d, "triples": %d}', scalar @triples, scalar keys %known);
    },
    'DELETE /api/triples' => sub {
        my $removed = grep { defined delete $known{"@$_"} } parse(shift);
        remember();
        return (200, sprintf '{"removed": %d, "triples": %d}', $removed, scalar keys %known);
    },
    'GET /api/query' => sub {
        my ($body, $query) = @_;
        my @patterns = parse($query->{where} // '') or die "where is missing\n";
        return (200, '{"bindings": [' . join(', ', map { object($_) } solve({}, @patterns)) . ']}');
    },
);

sub object {
    my $bound = shift;
    return '{' . join(', ', map { text(substr $_, 1) . ': ' . text($bound->{$_}) } sort keys %$bound) . '}';
}

sub text {
    my $text = shift;
    $text =~ s/(["\\\x00-\x1f])/sprintf '\\u%04x', ord $1/ge;
    return qq("$text");
}

sub answer {
    my ($method, $target, $body) = @_;
    my ($path, $query) = split /\?/, $target, 2;
    my $route = $routes{"$method $path"};
    my ($status, $content, $type) = $route ? eval { $route->($body, fields($query // '')) } : ();
    ($status, $content) = (404, qq({"status": 404, "detail": "nothing here"})) if !$route;
    if ($route && !defined $status) {
        chomp(my $problem = $@);
        ($status, $content) = (422, '{"status": 422, "detail": ' . text($problem) . '}');
    }
    note("$method $path $status") if $path !~ m{/(health|ready)$};
    return response($status, $content, $type // 'application/json');
}

sub fields {
    my %fields;
    for my $pair (split /&/, shift) {
        my ($name, $value) = map { tr/+/ /; s/%([0-9a-fA-F]{2})/chr hex $1/ger } split /=/, $pair, 2;
        $fields{$name} = $value;
    }
    return \%fields;
}

my %reasons = (200 => 'OK', 404 => 'Not Found', 413 => 'Content Too Large', 422 => 'Unprocessable Content');

sub response {
    my ($status, $content, $type) = @_;
    return "HTTP/1.1 $status $reasons{$status}\r\ncontent-type: $type\r\ncontent-length: " . length($content)
        . "\r\nconnection: close\r\n\r\n$content";
}

# Other components ---------------------------------------------------------------------------------------------------

# (status, body) of one request; (0, '') when nobody answers.
sub request {
    my ($base, $method, $path, $body, $type) = @_;
    my ($host, $port) = $base =~ m{^http://([^:/]+):(\d+)} or return (0, '');
    my $socket = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Timeout => 5) or return (0, '');
    $socket->setsockopt(SOL_SOCKET, SO_RCVTIMEO, pack 'l!l!', 5, 0);
    print {$socket} "$method $path HTTP/1.0\r\nhost: $host\r\naccept: text/plain\r\n"
        . "content-type: $type\r\ncontent-length: " . length($body) . "\r\n\r\n$body";
    my $answer = '';
    1 while $socket->sysread($answer, 65536, length $answer);
    my ($status, $content) = $answer =~ m{^HTTP/1.\d (\d+).*?\r\n\r\n(.*)}s or return (0, '');
    return ($status, $content);
}

# The base URL of a component: its own variable, else what Tekton says, else its usual port.
sub locate {
    my $component = shift;
    my $own = $ENV{uc($component) . '_URL'};
    return $own if $own;
    if ($ENV{TEKTON_URL}) {
        my ($status, $record) = request($ENV{TEKTON_URL}, 'GET', "/api/components/$component", '', 'application/json');
        return $1 if $status == 200 && $record =~ /"endpoint":\s*"([^"]+)"/;
    }
    return "http://127.0.0.1:$usual_port{$component}";
}

sub remember {
    my $json = '{"key": ' . text($memory_key) . ', "value": ' . text(as_text()) . '}';
    my ($status) = request(locate('engram'), 'POST', '/api/memory/store', $json, 'application/json');
    note("engram did not store the triples ($status); they are in memory only") if $status != 200;
}

sub recall {
    my ($status, $text) = request(locate('engram'), 'GET', "/api/memory/$memory_key", '', 'text/plain');
    %known = map { ("@$_" => $_) } parse($text) if $status == 200;
    note(keys(%known) . " triples from engram");
}

sub announce {
    my $json = qq({"url": "http://127.0.0.1:$port"});
    my ($status) = request(locate('hermes'), 'PUT', '/api/registry/services/athena', $json, 'application/json');
    note('hermes does not answer; not in its directory') if $status != 200;
}

# The server: one process, one select loop, a buffer per connection -------------------------------------------------

sub note { print POSIX::strftime('%H:%M:%S', localtime), " athena: @_\n" }

# The whole request as (method, target, body), nothing while a part of it is missing.
sub complete {
    my $received = shift;
    my ($head, $body) = $received =~ /\A(.*?)\r\n\r\n(.*)\z/s or return;
    my ($length) = $head =~ /^content-length:\s*(\d+)/im;
    return if length $body < ($length // 0);
    my ($method, $target) = $head =~ /\A(\S+) (\S+)/ or return ('', '/', '');
    return ($method, $target, $body);
}

$| = 1;
$SIG{PIPE} = 'IGNORE';
$SIG{TERM} = $SIG{INT} = sub { exit 0 };

recall();
my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 128, ReuseAddr => 1)
    or die "athena: port $port: $!\n";
note("listening on http://127.0.0.1:$port");
announce();

my $open = IO::Select->new($listener);
my %received;
while (1) {
    for my $socket ($open->can_read) {
        if ($socket == $listener) {
            my $client = $listener->accept or next;
            $open->add($client);
            $received{$client} = '';
            next;
        }
        my $got = $socket->sysread($received{$socket}, 65536, length $received{$socket});
        my @request = $got ? complete($received{$socket}) : ();
        my $too_long = length $received{$socket} > $max_request;
        next if $got && !@request && !$too_long;
        $socket->syswrite($too_long ? response(413, '{"status": 413}', 'application/json') : answer(@request)) if $got;
        $open->remove($socket);
        delete $received{$socket};
        $socket->close;
    }
}
