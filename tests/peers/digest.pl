# Does the steps of tests/integration/digest_clients.py in one session of LWP.
use strict;
use warnings;
use LWP::UserAgent;

chomp(my ($base, $name, $password, $algorithm, $together, @steps) = <STDIN>);
my $client = LWP::UserAgent->new(timeout => 20, keep_alive => 1);
$client->credentials($base =~ s,^http://,,r, 'cameras', $name, $password);
for my $step (@steps) {
    my ($target, $body) = split /\t/, $step;
    my $answer = defined $body
        ? $client->post($base . $target, 'Content-Type' => 'text/plain', Content => $body)
        : $client->get($base . $target);
    print $answer->content, "\n";
}
