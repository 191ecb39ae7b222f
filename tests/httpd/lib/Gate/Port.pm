package Gate::Port;

# What tests of ports need: a private service, as much of GitLab as knows of jobs, tunnels by hand.

use strict;
use warnings;
use Exporter 'import';
use IO::Socket::INET;
use JSON ();
use MIME::Base64 qw(encode_base64);
use Time::HiRes qw(sleep time);
use Gate::Client  ();
use Gate::Process ();

our @EXPORT = qw(target gitlab gitlab_job gitlab_mode tunnel closing basic connections target_saw websocket);

my (%targets, $gitlab);

# Starts a private service; its address.
sub target {
    my ($listen) = @_;
    my $process = Gate::Process->start_listening($ENV{GATE_TESTKIT}, 'target', '--listen', $listen);
    $process->{pipe}->blocking(0);
    $targets{ $process->address } = $process;
    return $process->address;
}

# What a private service has said so far.
sub heard {
    my ($address) = @_;
    my $process = $targets{$address};
    $process->{text} //= '';
    1 while sysread $process->{pipe}, $process->{text}, 65536, length $process->{text};
    return $process->{text};
}

# How many connections of a private service have come to their end.
sub connections {
    my ($address) = @_;
    sleep 0.3;
    return scalar(() = heard($address) =~ /^closed/mg);
}

# What a private service saw of the connection that began with this word: { received, sent, at }.
sub target_saw {
    my ($address, $word, $seconds) = @_;
    my $until = time + ($seconds || 5);
    do {
        return { received => $1, sent => $2, at => $3 } if heard($address) =~ /^closed \Q$word\E received=(\d+) sent=(\d+) at=([\d.]+)$/m;
        sleep 0.05;
    } while time < $until;
    return;
}

sub gitlab {
    $gitlab ||= Gate::Process->start_listening($ENV{GATE_TESTKIT}, 'gitlab', '--listen', '127.0.0.1:0');
    return 'http://' . $gitlab->address;
}

sub steer {
    my ($what, %spec) = @_;
    my ($port) = gitlab() =~ /:(\d+)$/;
    return Gate::Client::ask($port, 'POST', "/control/$what", body => JSON->new->canonical->encode(\%spec));
}
sub gitlab_job  { return steer('job', @_) }
sub gitlab_mode { return steer('mode', mode => $_[0]) }

sub basic { return 'Basic ' . encode_base64("$_[0]:$_[1]", '') }

# (the answer, the tunnel) of a CONNECT. options: headers.
sub tunnel {
    my ($port, $name, $token, %with) = @_;
    my @headers = @{ $with{headers} || [] };
    push @headers, 'Proxy-Authorization' => "Bearer $token" if defined $token;
    my $text = "CONNECT $name HTTP/1.1\r\nHost: $name\r\n";
    while (my ($field, $value) = splice @headers, 0, 2) { $text .= "$field: $value\r\n" }
    my $answer = Gate::Client::raw($port, "$text\r\n", method => 'CONNECT', $with{socket} ? (socket => $with{socket}) : ());
    return ($answer, bless { socket => $answer->{socket} }, 'Gate::Tunnel');
}

# The log's line of the close of the port that this answer opened.
sub closing {
    my ($httpd, $answer, $seconds) = @_;
    my $id = $answer->header('X-Gate-Request') // return '(no X-Gate-Request)';
    $httpd->wait_for_log(qr/GATE702:.*request=\Q$id\E/, $seconds || 5);
    my ($line) = grep { /GATE702:.*request=\Q$id\E/ } split /\n/, $httpd->error_log;
    return $line // "(no line for $id)";
}

sub websocket {
    my ($port, $path, $token) = @_;
    my $socket = Gate::Client::connect_to($port);
    print {$socket} "GET $path HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer $token\r\n\r\n";
    my $head = '';
    local $SIG{ALRM} = sub { die "no answer\n" };
    alarm 20;
    while ($head !~ /\r\n\r\n$/) { sysread $socket, my $byte, 1 or last; $head .= $byte }
    alarm 0;
    my ($status) = $head =~ m{^HTTP/1.1 (\d+)};
    return { status => $status // 0, head => $head, tunnel => bless { socket => $socket }, 'Gate::Tunnel' };
}

package Gate::Tunnel;

use IO::Select;
use Time::HiRes qw(time);

sub say   { my ($self, $text) = @_; local $SIG{PIPE} = 'IGNORE'; $self->{socket}->syswrite($text); return }
sub shut  { my ($self) = @_; shutdown $self->{socket}, 1; return }
sub close { my ($self) = @_; CORE::close $self->{socket}; return }

# The next bytes, through the buffer that the answer was read with.
sub chunk {
    my ($self, $until) = @_;
    my $left = $until - time;
    return undef if $left <= 0 || !IO::Select->new($self->{socket})->can_read($left);
    my $got = sysread $self->{socket}, my $bytes, 262_144;
    return $got ? $bytes : '';
}

sub read {
    my ($self, $length) = @_;
    my ($text, $until) = ('', time + 20);
    while (length $text < $length) {
        my $bytes = $self->chunk($until);
        last if !defined $bytes || $bytes eq '';
        $text .= $bytes;
    }
    return $text;
}

# Everything until the other end closes; "(still open)" where it does not in 20 s.
sub rest {
    my ($self) = @_;
    my ($text, $until) = ('', time + 20);
    while (1) {
        my $bytes = $self->chunk($until);
        return "$text(still open)" if !defined $bytes;
        return $text if $bytes eq '';
        $text .= $bytes;
    }
}

sub count_rest {
    my ($self) = @_;
    my ($count, $until) = (0, time + 20);
    while (1) {
        my $bytes = $self->chunk($until);
        return 'still open' if !defined $bytes;
        return $count if $bytes eq '';
        $count += length $bytes;
    }
}

1;
