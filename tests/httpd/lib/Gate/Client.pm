package Gate::Client;

# HTTP by hand: the bytes that a test wants are the bytes that are sent.

use strict;
use warnings;
use IO::Socket::INET;
use Time::HiRes qw(time);

my $TIMEOUT = 30;

# ask(PORT, METHOD, TARGET, headers => [Name => value, ...], token => T, body => B, to => 'host') -> Gate::Answer
sub ask {
    my ($port, $method, $target, %with) = @_;
    my @headers = @{ $with{headers} || [] };
    push @headers, Authorization => "Bearer $with{token}" if defined $with{token};
    my %has = map { lc $_ => 1 } @headers[ grep { !($_ % 2) } 0 .. $#headers ];
    unshift @headers, Host => "127.0.0.1:$port" unless $has{host};
    push @headers, Connection => 'close' unless $has{connection};
    push @headers, 'Content-Length' => length $with{body} if defined $with{body} && !$has{'transfer-encoding'} && !$has{'content-length'};
    my $text = "$method $target HTTP/1.1\r\n";
    while (my ($name, $value) = splice @headers, 0, 2) { $text .= "$name: $value\r\n" }
    my $answer = raw($port, "$text\r\n" . ($with{body} // ''), method => $method);
    # httpd waits up to 2 s for us to close, and a worker with it.
    close delete $answer->{socket};
    return $answer;
}

# Sends these bytes and reads one answer, whose {socket} stays open. options: method (HEAD has no body), socket.
sub raw {
    my ($port, $bytes, %options) = @_;
    my $socket = $options{socket} || connect_to($port);
    local $SIG{PIPE} = 'IGNORE';
    print {$socket} $bytes;
    my $answer = read_answer($socket, $options{method} // '');
    $answer->{port}   = $port;
    $answer->{socket} = $socket;
    $Gate::Httpd::answers{$port} ||= [];
    # Without the socket, which would stay open with it.
    push @{ $Gate::Httpd::answers{$port} }, bless { status => $answer->{status}, headers => $answer->{headers} }, 'Gate::Answer';
    return $answer;
}

sub connect_to {
    my ($port) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Proto => 'tcp', Timeout => 5)
        or die "connect to 127.0.0.1:$port: $@";
    $socket->autoflush(1);
    return $socket;
}

# One HTTP answer (1xx ones are passed over).
sub read_answer {
    my ($socket, $method) = @_;
    my $answer = eval {
        local $SIG{ALRM} = sub { die "no answer in $TIMEOUT s\n" };
        alarm $TIMEOUT;
        my $got = read_one($socket, $method);
        $got = read_one($socket, $method) while $got->{status} =~ /^1/ && $got->{status} != 101;
        alarm 0;
        $got;
    };
    alarm 0;
    return $answer || bless { status => 0, headers => [], body => '', line => "(no answer: $@)" }, 'Gate::Answer';
}

sub read_one {
    my ($socket, $method) = @_;
    my $line = <$socket> // die "the connection was closed without an answer\n";
    $line =~ s/\r?\n$//;
    my ($status) = $line =~ m{^HTTP/1\.[01] (\d{3})} or die "not HTTP: $line\n";
    my @headers;
    while (defined(my $field = <$socket>)) {
        $field =~ s/\r?\n$//;
        last if $field eq '';
        push @headers, [ $field =~ /^([^:]*):\s*(.*)$/ ];
    }
    my $answer = bless { status => $status, line => $line, headers => \@headers, body => '' }, 'Gate::Answer';
    return $answer if $method eq 'HEAD' || $status =~ /^(?:1..|204|304)$/ || ($method eq 'CONNECT' && $status =~ /^2/);
    if (($answer->header('Transfer-Encoding') // '') =~ /chunked/i) {
        while (defined(my $size = <$socket>)) {
            $size = hex(($size =~ /^([0-9a-fA-F]+)/)[0] // 0);
            $answer->{body} .= exactly($socket, $size);
            my $end = <$socket>;
            last if !$size;
        }
    } elsif (defined(my $length = $answer->header('Content-Length'))) {
        $answer->{body} = exactly($socket, $length);
    } else {
        local $/;
        $answer->{body} = <$socket> // '';
    }
    return $answer;
}

sub exactly {
    my ($socket, $length) = @_;
    my $bytes = '';
    while (length $bytes < $length) {
        read($socket, $bytes, $length - length $bytes, length $bytes) or last;
    }
    return $bytes;
}

package Gate::Answer;

use JSON ();

sub status { return $_[0]{status} + 0 }
sub body   { return $_[0]{body} }

# The values of a header; in scalar context the first.
sub header {
    my ($self, $name) = @_;
    my @values = map { $_->[1] } grep { lc $_->[0] eq lc $name } @{ $self->{headers} };
    return wantarray ? @values : $values[0];
}

# What the upstream said it got, or undef where the answer is not the upstream's.
sub upstream_saw {
    my ($self) = @_;
    return $self->{saw} //= eval {
        my $saw = JSON->new->utf8->decode($self->{body});
        ref $saw eq 'HASH' && exists $saw->{target} ? $saw : undef;
    };
}

# The request target as the upstream got it.
sub target { my ($self) = @_; return ($self->upstream_saw || {})->{target} }

# The values of a header as the upstream got it; in scalar context joined by ' | ', undef where none came.
sub sent {
    my ($self, $name) = @_;
    my $saw = $self->upstream_saw or return;
    my @values = map { $_->[1] } grep { lc $_->[0] eq lc $name } @{ $saw->{headers} };
    return wantarray ? @values : @values ? join(' | ', @values) : undef;
}

sub as_string {
    my ($self) = @_;
    return join("\n", $self->{line}, map { "$_->[0]: $_->[1]" } @{ $self->{headers} }) . "\n\n" . substr($self->{body}, 0, 600);
}

1;
