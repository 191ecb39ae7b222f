package Gate::Watched;

# A client of a port in a process of its own, plain or over TLS, that is busy at full speed or not at all, and
# that says when it saw the end, and after how many bytes. With it, what the private service saw.
#
#   my $one = Gate::Watched->open(port => P, tls => 0, name => 'db:1', token => T, does => 'read');
#   $one->go; ...; my $end = $one->end;    # { at => TIME, count => BYTES }

use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use JSON ();
use POSIX ();
use Socket ();
use Time::HiRes qw(sleep time);

my $made = 0;

# options: port, tls, name, token, headers; does: read (the target floods), write (the client does), nothing,
# slow (the target floods, the client reads less than comes), stall (nobody reads).
sub open {
    my ($class, %how) = @_;
    # A word that is this one's alone, by which the target's line is found.
    my $word = ($how{does} =~ /read|slow|stall/ ? 'flood' : 'eat') . $$ . '-' . ++$made;
    pipe my $read, my $write or die "pipe: $!";
    pipe my $wait, my $go or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        $SIG{$_} = 'DEFAULT' for qw(TERM INT HUP);
        my $said = eval { CORE::close $go; run($write, $wait, $word, %how) } || { error => "$@" };
        syswrite $write, JSON::encode_json($said) . "\n";
        POSIX::_exit(0);
    }
    CORE::close $write;
    my $self = bless { %how, pid => $pid, pipe => $read, go => $go, word => $word, opened => time }, $class;
    my $first = JSON::decode_json(readline($read) // '{"error":"no word"}');
    return bless { %$self, %$first }, $class;
}

# Not before this does it do anything.
sub go { my ($self) = @_; syswrite $self->{go}, "\n"; return }

sub run {
    my ($write, $wait, $word, %how) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $how{port}, Timeout => 10) or die "connect: $@";
    setsockopt $socket, Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), 65_536 if $how{does} eq 'slow';
    if ($how{tls}) {
        require IO::Socket::SSL;
        IO::Socket::SSL->start_SSL($socket, SSL_verify_mode => 0, SSL_alpn_protocols => ['http/1.1']) or die $IO::Socket::SSL::SSL_ERROR;
    }
    my $text = "CONNECT $how{name} HTTP/1.1\r\nHost: $how{name}\r\nProxy-Authorization: Bearer $how{token}\r\n";
    my @headers = @{ $how{headers} || [] };
    while (my ($field, $value) = splice @headers, 0, 2) { $text .= "$field: $value\r\n" }
    syswrite $socket, "$text\r\n";
    my $head = '';
    while ($head !~ /\r\n\r\n$/) { sysread($socket, $head, 1, length $head) or die "no answer: $head" }
    my ($status) = $head =~ m{^HTTP/1.1 (\d+)};
    my ($id) = $head =~ /^X-Gate-Request: (\S+)\r/mi;
    my ($expires) = $head =~ /^Gate-Expires: (\d+)\r/mi;
    syswrite $write, JSON::encode_json({ status => $status, id => $id, expires => $expires }) . "\n";
    return { at => time, count => 0 } if $status != 200;
    sysread $wait, my $byte, 1;
    syswrite $socket, "$word\n";
    my ($count, $block) = (0, '.' x 16384);
    alarm 60;
    if ($how{does} eq 'write') {
        1 while syswrite $socket, $block;
    } elsif ($how{does} eq 'stall') {
        sleep 60;
    } else {
        my $most = $how{does} eq 'slow' ? 65_536 : 262_144;
        while (my $got = sysread $socket, my $bytes, $most) {
            $count += $got;
            sleep 0.004 if $how{does} eq 'slow';
        }
    }
    return { at => time, count => $count };
}

# When it saw the end, and how much had come. Who does not read can't see it.
sub end {
    my ($self) = @_;
    kill TERM => $self->{pid} if $self->{does} eq 'stall';
    my $line = readline $self->{pipe};
    waitpid $self->{pid}, 0;
    return defined $line ? JSON::decode_json($line) : { error => 'it was killed' };
}

1;
